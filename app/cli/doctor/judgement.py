"""Checks whether the language model answers, and to which form of a request. It is sent no text of a call."""

import time

from app.analysis.judgement.answers import Asked, Wish
from app.analysis.judgement.client import PromptTooLong, Spent
from app.cli.doctor.findings import Finding, failed, fine, warning
from app.cli.doctor.surroundings import Surroundings
from app.errors import AnalysisError
from app.making import open_judge

MOST_TOKENS = 200
ADVICE = {
    "judgement_unavailable": "Start the server, or correct CALLSCRIBE_LLM_URL.",
    "judgement_refused": "Correct CALLSCRIBE_LLM_URL, CALLSCRIBE_LLM_MODEL or CALLSCRIBE_LLM_API_KEY.",
    "judgement_unfit": "Use a larger model that follows instructions (docs/analysis.md).",
}
ASK = 'Answer with the JSON object {"ready": true} and nothing else.'


class Ready(Asked):
    ready: bool


async def language_model(at: Surroundings) -> list[Finding]:
    async with open_judge(at.settings) as judge:
        if judge is None:
            return []
        began = time.monotonic()
        ladder, name = judge.ladder, judge.ladder.chat.endpoint.model
        try:
            await ladder.ask([{"role": "user", "content": ASK}], Wish(Ready), Spent(), MOST_TOKENS)
        except AnalysisError as error:
            return [failed(error.detail, ADVICE[error.code], about=name)]
        except PromptTooLong:
            return [failed("it has no room for a short prompt", ADVICE["judgement_unfit"], about=name)]
        seconds = time.monotonic() - began
    form = ladder.step.shown
    if form != "json_schema":
        return [warning(f"it answers, but its server knows no answer by JSON Schema, only {form}", MORE, about=name)]
    return [fine(f"it answers in {seconds:.1f} s, by JSON Schema", about=name, seconds=round(seconds, 2))]


MORE = "Judgements work, but a server that enforces a JSON Schema, such as vLLM, needs fewer requests."
