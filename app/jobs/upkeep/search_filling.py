"""Makes calls searchable that are not: those of older versions, and those that an older version completes beside this.

The figures of such calls, which reports add up, are written with their words.

Every process looks at all completed calls once, the newest first, and then at the latest ones each minute. It remembers
nothing: a process that is killed begins again, and skips what has words already.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import and_, func, tuple_
from sqlmodel import col, select, update
from sqlmodel.ext.asyncio.session import AsyncSession

from app.database.connections import Database
from app.database.retries import every
from app.jobs import results
from app.jobs.figures import Figures
from app.jobs.lifecycle import Status
from app.jobs.models import CallFacts, StoredTranscript, Transcription, stored_transcripts
from app.jobs.upkeep import late_indexes
from app.search.index import write_words
from app.search.lexemes import rows_of
from app.search.models import TranscriptSearch

LOOKED_AT, FILLED_AT_ONCE = 1000, 20
PAUSE_SECONDS = 0.2  # after each bite, so that the calls of the day come first
SWEEP_SECONDS = 60.0
REPORT_SECONDS = 60.0
LATELY = timedelta(hours=1)
LOCK = 0x736561  # "sea": one process fills at a time

log = structlog.stdlib.get_logger("callscribe.search")


@dataclass(frozen=True)
class _Read:
    """A call without words or figures, and its result. `speakers` is None if the transcript cannot be read."""

    id: UUID
    words: Sequence[str]
    figures: Figures
    speakers: list[dict[str, Any]] | None


class SearchFilling:
    def __init__(self, database: Database, *, pause_seconds: float = PAUSE_SECONDS) -> None:
        self._database = database
        self._pause_seconds = pause_seconds
        self._since: datetime | None = None  # calls that ended earlier have words
        self._has_indexes = False

    async def run(self) -> None:
        """Fill until cancelled."""
        await every(SWEEP_SECONDS, self.sweep)

    async def sweep(self) -> None:
        """Look at all calls that may have no words yet, and fill them."""
        if not self._has_indexes:
            self._has_indexes = await late_indexes.make_missing(self._database)
        began = datetime.now(UTC)
        missing, filled = await self._walk()
        if filled == missing:
            self._since = began - LATELY
        if filled:
            log.info("older calls can be searched now", calls=filled)

    async def _walk(self) -> tuple[int, int]:
        """Go from the newest call back. Returns how many calls had no words, and how many were filled."""
        before: tuple[datetime, UUID] | None = None
        found, filled, reported = 0, 0, time.monotonic()
        while True:
            async with self._database.transaction() as session:
                looked_at = await _ended(session, before, self._since)
            missing = [job_id for job_id, _, has_words in looked_at if not has_words]
            found += len(missing)
            for start in range(0, len(missing), FILLED_AT_ONCE):
                filled += await self._fill(missing[start : start + FILLED_AT_ONCE])
                await asyncio.sleep(self._pause_seconds)
                if time.monotonic() - reported > REPORT_SECONDS:
                    log.info("older calls are being made searchable", calls=filled, back_to=str(looked_at[-1][1]))
                    reported = time.monotonic()
            if len(looked_at) < LOOKED_AT:
                return found, filled
            before = looked_at[-1][1], looked_at[-1][0]

    async def _fill(self, ids: Sequence[UUID]) -> int:
        """Returns how many of the calls are done, or 0 if another process is at work on some."""
        statement = select(Transcription.id, Transcription.tenant, StoredTranscript.transcript).where(
            col(Transcription.id).in_(ids)
        )
        async with self._database.transaction() as session:
            found = (await session.exec(statement.outerjoin(StoredTranscript))).all()
        read = [await asyncio.to_thread(_read, *row) for row in found]
        async with self._database.transaction() as session:
            if not (await session.exec(select(func.pg_try_advisory_xact_lock(LOCK)))).one():
                return 0
            there = select(Transcription.id).where(col(Transcription.id).in_(ids))
            kept = set((await session.exec(there.with_for_update(key_share=True, read=True))).all())
            for call in read:
                if call.id in kept:  # it may have been erased meanwhile
                    await write_words(session, call.id, call.words)
                    await results.write_figures(session, call.id, call.figures)
                    await session.exec(
                        update(Transcription)
                        .where(col(Transcription.id) == call.id, col(Transcription.speakers).is_(None))
                        .values(speakers=call.speakers)
                    )
        return len(ids)


async def _ended(
    session: AsyncSession, before: tuple[datetime, UUID] | None, since: datetime | None
) -> list[tuple[UUID, datetime, bool]]:
    """The next completed calls, the latest first, each with whether it has words and figures."""
    has_words = select(TranscriptSearch.part).where(
        TranscriptSearch.transcription_id == Transcription.id, TranscriptSearch.part == 0
    )
    has_figures = select(CallFacts.transcription_id).where(CallFacts.transcription_id == Transcription.id)
    is_filled = and_(has_words.scalar_subquery().is_not(None), has_figures.scalar_subquery().is_not(None))
    ended_at, job_id = col(Transcription.completed_at), col(Transcription.id)
    statement = select(Transcription.id, ended_at, is_filled).where(
        Transcription.status == Status.COMPLETED, ended_at.is_not(None)
    )
    if before is not None:
        statement = statement.where(tuple_(ended_at, job_id) < before, ended_at <= before[0])
    if since is not None:
        statement = statement.where(ended_at >= since)
    ordered = statement.order_by(ended_at.desc(), job_id.desc()).limit(LOOKED_AT)
    rows: Sequence[Any] = (await session.exec(ordered)).all()
    return [(row[0], row[1], row[2]) for row in rows]


def _read(job_id: UUID, tenant: str, stored: str | None) -> _Read:
    """Called in a thread. A call whose transcript cannot be read is found by no word, and is not tried again."""
    if stored is not None:
        try:
            transcript = stored_transcripts.validate_json(stored)
            words = results.words_of(transcript, tenant)
            return _Read(job_id, words, Figures.of(transcript), results.speakers_of(transcript))
        except ValueError:
            log.warning("a stored transcript cannot be read, so that its call cannot be searched", job=str(job_id))
    return _Read(job_id, rows_of([], tenant), Figures(), None)
