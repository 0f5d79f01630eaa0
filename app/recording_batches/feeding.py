"""The SQL of the feeder: which batch is looked after next, which rows get a job, and what is listed or erased.

Each step is one transaction that holds the batch's row locked. So several processes may look after one batch, and a
process that dies leaves nothing half done.
"""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from sqlalchemy import Integer, Text, Uuid, bindparam, func, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlmodel import col, delete, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.errors import AppError
from app.jobs.claims.ending import now
from app.jobs.models import Transcription
from app.recording_batches import changing
from app.recording_batches.models import BatchStatus, RecordingBatch, RecordingBatchRow
from app.recording_batches.room import room_for

MOST_WAITING_JOBS = 400
ROWS_AT_ONCE = 100
MOST_RECORDINGS = 1_000_000
NO_MATCH = "No object of the bucket matches the pattern."
TOO_MANY = f"The listing ended after {MOST_RECORDINGS} recordings, because a batch can have no more."


async def claim(session: AsyncSession, lease: timedelta) -> RecordingBatch | None:
    """The batch that has to be looked after now, or None. Other processes leave it alone for the time of the lease."""
    due = select(RecordingBatch).where(
        col(RecordingBatch.completed_at).is_(None), col(RecordingBatch.look_at) <= func.now()
    )
    due = due.order_by(col(RecordingBatch.look_at)).limit(1).with_for_update(skip_locked=True)
    batch = (await session.exec(due)).first()
    if batch is not None:
        batch.look_at = await now(session) + lease
    return batch


async def any_open(session: AsyncSession) -> bool:
    """Whether there is a batch that has to be looked after now or later."""
    rows = await session.exec(select(RecordingBatch.id).where(col(RecordingBatch.completed_at).is_(None)).limit(1))
    return rows.first() is not None


async def look_again(session: AsyncSession, batch_id: UUID, pause: timedelta, trouble: str | None = None) -> None:
    """Let a process look after the batch after the pause."""
    batch = await changing.lock(session, batch_id)
    if batch is not None:
        batch.look_at = await now(session) + pause
        if batch.trouble != trouble and batch.trouble not in (TOO_MANY, NO_MATCH):
            batch.trouble = trouble


async def waiting_rows(session: AsyncSession, batch: RecordingBatch) -> Sequence[RecordingBatchRow]:
    """The next rows that may get a job now. There are none while enough jobs of the batch, or of its caller, wait."""
    pending = text(
        "SELECT count(*) FROM (SELECT FROM transcription WHERE batch_id = :batch AND NOT superseded"
        " AND status = 'pending' LIMIT :most) AS pending"
    ).bindparams(batch=batch.id, most=MOST_WAITING_JOBS)
    free = MOST_WAITING_JOBS - (await session.exec(pending)).scalar_one()  # type: ignore[call-overload]
    free = await room_for(session, batch, min(free, ROWS_AT_ONCE))
    rows = select(RecordingBatchRow).where(
        RecordingBatchRow.batch_id == batch.id,
        col(RecordingBatchRow.transcription_id).is_(None),
        col(RecordingBatchRow.error_code).is_(None),
    )
    return (await session.exec(rows.order_by(col(RecordingBatchRow.number)).limit(free))).all()


async def record_fed(
    session: AsyncSession, outcomes: Sequence[UUID | AppError], *, seen: RecordingBatch, numbers: Sequence[int]
) -> bool:
    """Write which jobs the rows get, or why they were refused. Returns False if the batch has changed since `seen`."""
    batch = await changing.lock(session, seen.id)
    if batch is None or (batch.status, batch.fed, batch.refused) != (seen.status, seen.fed, seen.refused):
        return False
    errors = [each if isinstance(each, AppError) else None for each in outcomes]
    statement = text("""
        UPDATE recording_batch_row AS row
        SET transcription_id = outcome.job, error_code = outcome.code, error_message = outcome.message
        FROM unnest(:numbers, :jobs, :codes, :messages) AS outcome(number, job, code, message)
        WHERE row.batch_id = :batch AND row.number = outcome.number
    """).bindparams(
        bindparam("numbers", list(numbers), type_=ARRAY(Integer)),
        bindparam("jobs", [each if isinstance(each, UUID) else None for each in outcomes], type_=ARRAY(Uuid)),
        bindparam("codes", [error and error.code for error in errors], type_=ARRAY(Text)),
        bindparam("messages", [error and error.reason for error in errors], type_=ARRAY(Text)),
        batch=batch.id,
    )
    await session.exec(statement)  # type: ignore[call-overload]
    refused = sum(error is not None for error in errors)
    batch.refused += refused
    batch.fed += len(outcomes) - refused
    if batch.paced_since is None:
        batch.paced_since, batch.paced_from = await now(session), await _seconds_done(session, batch.id)
    if batch.is_listed and not batch.waiting:
        batch.status = BatchStatus.RUNNING
    return True


async def _seconds_done(session: AsyncSession, batch_id: UUID) -> float:
    done = select(func.coalesce(func.sum(Transcription.duration), 0.0)).where(
        Transcription.batch_id == batch_id, Transcription.status == "completed"
    )
    return (await session.exec(done)).one() or 0.0


async def record_listed(
    session: AsyncSession, seen: RecordingBatch, urls: Sequence[str], after: str | None, *, is_last: bool
) -> None:
    """Write the rows of a part of the listing, which ends at the key `after`. Does nothing if another process has."""
    batch = await changing.lock(session, seen.id)
    if batch is None or batch.is_listed or (batch.status, batch.listed_after) != (seen.status, seen.listed_after):
        return
    kept = urls[: MOST_RECORDINGS - batch.total]
    await changing.add_rows(session, batch.id, [(batch.total + n, url, {}) for n, url in enumerate(kept, start=1)])
    batch.total += len(kept)
    batch.listed_after, batch.is_listed = after, is_last or len(kept) < len(urls)
    batch.trouble = TOO_MANY if len(kept) < len(urls) else None
    if batch.is_listed and not batch.total:
        batch.trouble = NO_MATCH


async def end_if_done(session: AsyncSession, batch_id: UUID) -> bool:
    """Note that the batch has ended if nothing of it waits or runs any more. Returns whether it has."""
    batch = await changing.lock(session, batch_id)
    if batch is None or batch.status not in (BatchStatus.FEEDING, BatchStatus.RUNNING, BatchStatus.CANCELLED):
        return True
    if batch.status != BatchStatus.CANCELLED:
        batch.status = BatchStatus.RUNNING if batch.is_listed and not batch.waiting else BatchStatus.FEEDING
        if batch.status == BatchStatus.FEEDING:
            return False
    going_on = text(
        "SELECT EXISTS (SELECT FROM transcription WHERE batch_id = :batch AND NOT superseded"
        " AND status IN ('pending', 'in_progress'))"
    ).bindparams(batch=batch_id)
    if (await session.exec(going_on)).scalar_one():  # type: ignore[call-overload]
        return False
    batch.completed_at = await now(session)
    if batch.status == BatchStatus.RUNNING:
        batch.status = BatchStatus.COMPLETED
    return True


async def require_erasing(session: AsyncSession, batch_id: UUID) -> None:
    """Note that the batch is being erased, because it may be one whose request was interrupted."""
    batch = await changing.lock(session, batch_id)
    if batch is not None:
        batch.status = BatchStatus.ERASING


async def erase_rows(session: AsyncSession, batch_id: UUID, limit: int) -> bool:
    """Delete up to `limit` rows of a batch, or the batch itself if it has none. Returns whether it was the batch."""
    some = select(RecordingBatchRow.number).where(RecordingBatchRow.batch_id == batch_id).limit(limit)
    rows = delete(RecordingBatchRow).where(
        col(RecordingBatchRow.batch_id) == batch_id, col(RecordingBatchRow.number).in_(some)
    )
    if (await session.exec(rows)).rowcount:
        return False
    await session.exec(delete(RecordingBatch).where(col(RecordingBatch.id) == batch_id))
    return True


async def erase_ended(session: AsyncSession, age: timedelta) -> None:
    """Let a batch be erased that ended at least `age` ago, if retention has erased its jobs already."""
    ended = (
        select(RecordingBatch)
        .where(
            col(RecordingBatch.completed_at) <= func.now() - age,
            ~select(Transcription.id).where(Transcription.batch_id == RecordingBatch.id).exists(),
        )
        .order_by(col(RecordingBatch.completed_at))
        .limit(10)
        .with_for_update(skip_locked=True)
    )
    for batch in (await session.exec(ended)).all():
        await changing.erase_soon(session, batch)
