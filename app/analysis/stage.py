"""The work on one analysis: reads the stored transcript, applies the rules, and lets the language model judge the call.

No transaction is open while rules or the model are at work. Rules keep their results if the model fails.
"""

import asyncio
from dataclasses import dataclass
from uuid import UUID

from sqlmodel import select

from app.analysis import queue
from app.analysis.judgement.client import Spent
from app.analysis.judgement.dividing import Turn
from app.analysis.judgement.judging import Call, Judge
from app.analysis.queue import Ended, Leased
from app.database.connections import Database
from app.errors import AnalysisError, InternalError
from app.jobs.models import StoredTranscript, stored_transcripts
from app.transcripts.dialogue import turns


@dataclass(frozen=True)
class Stage:
    """`judge` is None if there is no language model. It uses at most `tokens_per_day`, in all processes together."""

    database: Database
    judge: Judge | None = None
    tokens_per_day: int | None = None

    async def analyse(self, leased: Leased, spent: Spent) -> Ended:
        """`spent` counts the tokens of this attempt, also if an error ends it."""
        stored, is_over_budget = await self._read(leased.transcription_id)
        if stored is None:  # the call was erased, so nothing is recorded either
            return Ended(error=InternalError("There is no transcript."))
        call = await asyncio.to_thread(_call, stored)
        # The rules are applied here: `analysis.rules.apply`, in a thread. Their unanswered questions go to the judge.
        if not leased.wants_judgement or self.judge is None:
            return Ended()
        if is_over_budget:
            return Ended(budget_is_spent=True)
        try:
            return Ended(judged=await self.judge.judge(call, spent), tokens=spent.tokens)
        except AnalysisError as error:
            return Ended(error=error, tokens=spent.tokens)

    async def _read(self, transcription_id: UUID) -> tuple[str | None, bool]:
        of_job = select(StoredTranscript.transcript).where(StoredTranscript.transcription_id == transcription_id)
        async with self.database.transaction() as session:
            stored = (await session.exec(of_job)).first()
            spent = 0 if self.tokens_per_day is None else await queue.tokens_today(session)
        return stored, self.tokens_per_day is not None and spent >= self.tokens_per_day


def _call(stored: str) -> Call:
    transcript = stored_transcripts.validate_json(stored)
    numbered = [
        Turn(number, turn.speaker, turn.start, turn.end, turn.text)
        for number, turn in enumerate(turns(transcript.segments), start=1)
    ]
    return Call(numbered, transcript.duration, transcript.language)
