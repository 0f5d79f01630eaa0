"""Every read of recording batches for clients. `jobs.scope` decides what a caller may see.

The jobs of a batch are counted by an index alone. That takes some ten milliseconds for 100,000 of them, so a count is
kept for a moment, and for longer if it took long.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.callers import Caller
from app.database.connections import Database
from app.jobs.lifecycle import Status
from app.jobs.models import Transcription
from app.recording_batches.changing import shown_to, unknown
from app.recording_batches.models import BatchStatus, RecordingBatch, RecordingBatchRow
from app.recording_batches.progress import Jobs, Progress, progress_of

KEPT_SECONDS = 1.0
KEPT_FOR_EACH_SECOND = 20.0
MOST_KEPT = 1000
ROWS_AT_ONCE = 500

_COUNT = text("""
    SELECT status, count(*), coalesce(sum(duration) FILTER (WHERE status = 'completed'), 0)
    FROM transcription WHERE batch_id = :batch AND NOT superseded GROUP BY status
""")


@dataclass(frozen=True)
class ReadBatch:
    """A batch and how far it is."""

    batch: RecordingBatch
    progress: Progress


@dataclass(frozen=True)
class BatchPage:
    items: Sequence[ReadBatch]
    is_last: bool


ReportRow = tuple[RecordingBatchRow, Transcription | None]


class BatchReader:
    """Answers reads. A read of one batch raises NotFound if there is none or the caller may not see it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._counted: dict[tuple[UUID, Any], tuple[float, Jobs]] = {}
        self._counting: dict[UUID, asyncio.Lock] = {}

    async def read(self, batch_id: UUID, caller: Caller) -> ReadBatch:
        return await self.with_progress(await self._find(batch_id, caller))

    async def _find(self, batch_id: UUID, caller: Caller) -> RecordingBatch:
        statement = select(RecordingBatch).where(RecordingBatch.id == batch_id, *shown_to(caller))
        async with self._database.transaction() as session:
            batch = (await session.exec(statement)).first()
        if batch is None:
            raise unknown(batch_id)
        return batch

    async def page(self, caller: Caller, before: UUID | None, limit: int, status: BatchStatus | None) -> BatchPage:
        """Batches, newest first."""
        statement = select(RecordingBatch).where(*shown_to(caller)).order_by(col(RecordingBatch.id).desc())
        if before is not None:
            statement = statement.where(RecordingBatch.id < before)
        if status is not None:
            statement = statement.where(RecordingBatch.status == status)
        async with self._database.transaction() as session:
            found = (await session.exec(statement.limit(limit + 1))).all()
        items = [await self.with_progress(batch) for batch in found[:limit]]
        return BatchPage(items, is_last=len(found) <= limit)

    async def with_progress(self, batch: RecordingBatch) -> ReadBatch:
        """A batch that was just read or written. Its jobs may have been counted a moment ago."""
        return ReadBatch(batch, progress_of(batch, await self._jobs(batch), datetime.now(UTC)))

    async def _jobs(self, batch: RecordingBatch) -> Jobs:
        # Counts of an earlier state of the row would not add up with it.
        key = batch.id, (batch.status, batch.fed, batch.completed_at)
        lock = self._counting.setdefault(batch.id, asyncio.Lock())
        async with lock:
            kept = self._counted.get(key)
            if kept is None or kept[0] < time.monotonic():
                started = time.monotonic()
                async with self._database.transaction() as session:
                    jobs = await _count(session, batch.id)
                ended = time.monotonic()
                kept = ended + KEPT_SECONDS + KEPT_FOR_EACH_SECOND * (ended - started), jobs
                self._remember(key, kept)
        if not lock.locked():
            self._counting.pop(batch.id, None)
        return kept[1]

    def _remember(self, key: tuple[UUID, Any], kept: tuple[float, Jobs]) -> None:
        if len(self._counted) >= MOST_KEPT:
            self._counted.clear()
        self._counted[key] = kept

    async def report(self, batch_id: UUID, caller: Caller) -> tuple[RecordingBatch, AsyncIterator[Sequence[ReportRow]]]:
        """The batch, and all its rows with their jobs, some hundreds at a time. The reader may be slow."""
        return await self._find(batch_id, caller), self._rows(batch_id)

    async def _rows(self, batch_id: UUID) -> AsyncIterator[Sequence[ReportRow]]:
        after = 0
        while True:
            statement = (
                select(RecordingBatchRow, Transcription)
                .outerjoin(Transcription, col(Transcription.id) == RecordingBatchRow.transcription_id)
                .where(RecordingBatchRow.batch_id == batch_id, RecordingBatchRow.number > after)
                .order_by(col(RecordingBatchRow.number))
                .limit(ROWS_AT_ONCE)
            )
            async with self._database.transaction() as session:
                rows = [(row, job) for row, job in (await session.exec(statement)).all()]
            if rows:
                yield rows
            if len(rows) < ROWS_AT_ONCE:
                return
            after = rows[-1][0].number


async def _count(session: AsyncSession, batch_id: UUID) -> Jobs:
    found = (await session.exec(_COUNT.bindparams(batch=batch_id))).all()  # type: ignore[call-overload]
    counted: Mapping[Status, tuple[int, float]] = {Status(status): (jobs, seconds) for status, jobs, seconds in found}
    by_status = {status: jobs for status, (jobs, _) in counted.items()}
    return Jobs(by_status, sum(seconds for _, seconds in counted.values()))
