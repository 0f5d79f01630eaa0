"""Every read of recording batches for clients. `jobs.scope` decides what a caller may see.

The jobs of a batch are counted by an index alone. That takes some ten milliseconds for 100,000 of them, so a count is
kept for a moment, and for longer if it took long.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import sqlalchemy
from sqlalchemy import text
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.access.callers import Caller
from app.database.connections import Database
from app.jobs.lifecycle import Status
from app.jobs.models import Transcription
from app.recording_batches.changing import shown_to, unknown
from app.recording_batches.models import BatchStatus, RecordingBatch, RecordingBatchRow
from app.recording_batches.progress import Progress, Tally, progress_of

KEPT_SECONDS = 1.0
KEPT_FOR_EACH_SECOND = 20.0
MOST_KEPT = 1000
ROWS_AT_ONCE = 500

_COUNT = text("""
    SELECT batch.total, batch.fed, batch.refused, counted.status, counted.jobs, counted.seconds
    FROM recording_batch AS batch LEFT JOIN LATERAL (
        SELECT status, count(*) AS jobs, coalesce(sum(duration) FILTER (WHERE status = 'completed'), 0) AS seconds
        FROM transcription WHERE batch_id = batch.id AND NOT superseded GROUP BY status
    ) AS counted ON true
    WHERE batch.id = :batch
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


@dataclass(frozen=True, slots=True)
class ReportRow:
    """A recording of a batch, and what is known of its job. `status` is None if there is no job.

    The error is that of the job if it has ended, or the one with which the intake refused the recording.
    """

    number: int
    url: str
    fields: dict[str, Any]
    transcription_id: UUID | None
    refused_code: str | None
    refused_message: str | None
    status: str | None
    error_code: str | None
    error_message: str | None
    external_id: str | None
    duration: float | None
    language: str | None
    outputs: list[dict[str, Any]]
    filename: str | None
    created_at: datetime


# Of the columns of a job, only those of the report: whole rows would take several times as long.
_REPORT_COLUMNS = (
    col(RecordingBatchRow.number),
    col(RecordingBatchRow.url),
    col(RecordingBatchRow.fields),
    col(RecordingBatchRow.transcription_id),
    col(RecordingBatchRow.error_code),
    col(RecordingBatchRow.error_message),
    *(
        col(column)
        for column in (
            Transcription.status,
            Transcription.error_code,
            Transcription.error_message,
            Transcription.external_id,
            Transcription.duration,
            Transcription.language,
            Transcription.outputs,
            Transcription.filename,
            Transcription.created_at,
        )
    ),
)


class BatchReader:
    """Answers reads. A read of one batch raises NotFound if there is none or the caller may not see it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._counted: dict[tuple[UUID, Any], tuple[float, Tally]] = {}
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
        return ReadBatch(batch, progress_of(batch, await self._tally(batch), datetime.now(UTC)))

    async def _tally(self, batch: RecordingBatch) -> Tally:
        key = batch.id, (batch.status, batch.completed_at)  # a change of the status is seen immediately
        lock = self._counting.setdefault(batch.id, asyncio.Lock())
        async with lock:
            kept = self._counted.get(key)
            if kept is None or kept[0] < time.monotonic():
                started = time.monotonic()
                async with self._database.transaction() as session:
                    tally = await _count(session, batch)
                ended = time.monotonic()
                kept = ended + KEPT_SECONDS + KEPT_FOR_EACH_SECOND * (ended - started), tally
                self._remember(key, kept)
        if not lock.locked():
            self._counting.pop(batch.id, None)
        return kept[1]

    def _remember(self, key: tuple[UUID, Any], kept: tuple[float, Tally]) -> None:
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
                sqlalchemy.select(*_REPORT_COLUMNS)
                .outerjoin(Transcription, col(Transcription.id) == RecordingBatchRow.transcription_id)
                .where(col(RecordingBatchRow.batch_id) == batch_id, col(RecordingBatchRow.number) > after)
                .order_by(col(RecordingBatchRow.number))
                .limit(ROWS_AT_ONCE)
            )
            async with self._database.transaction() as session:
                found = (await session.exec(statement)).all()  # type: ignore[call-overload]
            rows = [ReportRow(*row) for row in found]
            if rows:
                yield rows
            if len(rows) < ROWS_AT_ONCE:
                return
            after = rows[-1].number


async def _count(session: AsyncSession, batch: RecordingBatch) -> Tally:
    rows = (await session.exec(_COUNT.bindparams(batch=batch.id))).all()  # type: ignore[call-overload]
    if not rows:  # it was erased meanwhile
        return Tally(batch.total, batch.fed, batch.refused, {}, 0.0)
    by_status = {Status(row.status): row.jobs for row in rows if row.status is not None}
    first = rows[0]
    return Tally(first.total, first.fed, first.refused, by_status, sum(row.seconds or 0.0 for row in rows))
