"""The steps of an analysis: applying the rules to the stored transcript, and having the language model judge the call.

They are two steps, so that what rules find is stored and shown while the model is slow, away or over its budget. No
transaction is open while rules or the model are at work.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import case, null
from sqlmodel import col, select

from app.analysis import defining, questions, queue
from app.analysis.definition_models import DefinitionRow
from app.analysis.judgement.client import Spent
from app.analysis.judgement.dividing import Turn
from app.analysis.judgement.judging import Call, Judge
from app.analysis.models import Analysis
from app.analysis.queue import Ended, Leased
from app.analysis.rules import applying, scoring
from app.analysis.rules import call as rules
from app.analysis.rules.meaning import Meaning
from app.analysis.rules.results import RuleResults, Score, stored_scores
from app.database.connections import Database
from app.errors import AnalysisError, InternalError
from app.jobs.models import StoredTranscript, Transcription, stored_transcripts
from app.process.threads import in_daemon_thread
from app.transcripts.dialogue import turns

log = structlog.stdlib.get_logger("callscribe.analysis")

GONE = Ended(error=InternalError("There is no transcript."))  # the call was erased, so this is not recorded either


@dataclass(frozen=True)
class Stage:
    """`judge` is None if there is no language model. It uses at most `tokens_per_day`, in all processes together.

    Without `meaning`, conditions that compare meanings are not known to hold.
    """

    database: Database
    judge: Judge | None = None
    tokens_per_day: int | None = None
    meaning: Meaning | None = None

    async def analyse(self, leased: Leased, spent: Spent) -> Ended:
        """Do the next step. `spent` counts the tokens of this attempt, also if an error ends it."""
        if leased.waits_for_model:
            return await self._judged(leased.transcription_id, spent)
        return await self._checked(leased)

    async def _checked(self, leased: Leased) -> Ended:
        """What the rules find. If there is an earlier judgement that stays, it answers questions of scorecards."""
        kept = case((col(Analysis.wants_judgement), null()), else_=col(Analysis.judgement))
        of_call = select(StoredTranscript.transcript, Transcription.metadata_, kept)
        of_call = of_call.select_from(Transcription).join(StoredTranscript).join(Analysis)
        async with self.database.transaction() as session:
            found = (await session.exec(of_call.where(_is(leased.transcription_id)))).first()
            rows = await defining.rows(session, leased.tenant)
        if found is None:
            return GONE
        stored, metadata, judgement = found
        apply = partial(_applied, stored, metadata, judgement, rows, self.meaning)
        results = await in_daemon_thread(apply, "rules")
        if results.trouble is not None:
            log.warning(
                "some conditions are not known",
                tenant=leased.tenant,
                job=str(leased.transcription_id),
                error=results.trouble,
            )
        return Ended(**results.content())

    async def _judged(self, transcription_id: UUID, spent: Spent) -> Ended:
        assert self.judge is not None
        of_call = select(StoredTranscript.transcript, Analysis.scores)
        of_call = of_call.select_from(Transcription).join(StoredTranscript).join(Analysis)
        async with self.database.transaction() as session:
            found = (await session.exec(of_call.where(_is(transcription_id)))).first()
            used = 0 if self.tokens_per_day is None else await queue.tokens_today(session)
        if found is None:
            return GONE
        if self.tokens_per_day is not None and used >= self.tokens_per_day:
            return Ended(budget_is_spent=True)
        call, scores = await in_daemon_thread(partial(_to_judge, *found), "call to judge")
        asked = questions.left(scores, self.judge.room.prompt_tokens)
        try:
            judged = questions.in_words(await self.judge.judge(call, spent, asked), asked)
        except AnalysisError as error:
            return Ended(error=error, tokens=spent.tokens)
        answers = questions.answers(judged.fields, {turn.number: turn.start for turn in call.turns})
        answered = RuleResults(scores=tuple(scoring.with_answers(scores, answers))).content()["scores"]
        return Ended(scores=answered if scores else None, judged=judged, tokens=spent.tokens)


def _is(transcription_id: UUID) -> Any:
    return col(Transcription.id) == transcription_id


def _applied(
    stored: str,
    metadata: Mapping[str, Any],
    judgement: Mapping[str, Any] | None,
    rows: Sequence[DefinitionRow],
    meaning: Meaning | None,
) -> RuleResults:
    call = rules.Call.of(stored_transcripts.validate_json(stored), metadata)
    results = applying.apply(call, defining.definitions(rows), meaning)
    answers = questions.answers(judgement, {turn.number: turn.start for turn in call.turns})
    return replace(results, scores=tuple(scoring.with_answers(results.scores, answers)))


def _to_judge(stored: str, scores: list[dict[str, Any]] | None) -> tuple[Call, list[Score]]:
    transcript = stored_transcripts.validate_json(stored)
    numbered = [
        Turn(number, turn.speaker, turn.start, turn.end, turn.text)
        for number, turn in enumerate(turns(transcript.segments), start=1)
    ]
    return Call(numbered, transcript.duration, transcript.language), stored_scores(scores)
