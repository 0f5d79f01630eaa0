"""Every change of recording batches that clients ask for, and the rows that a request brings.

`jobs.scope` decides which batches a caller may see and change.
"""

import json
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Integer, Text, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.access import audit
from app.access.audit import Action
from app.access.callers import Caller
from app.database.notifications import notify
from app.errors import AlreadyFinal, IdempotencyKeyReused, NotCompleted, NotFound, Unavailable
from app.jobs.claims.ending import now
from app.jobs.lifecycle import Status
from app.jobs.scope import seen_by
from app.recording_batches.models import SHOWN, BatchStatus, RecordingBatch

BATCHES_TOPIC = "recording_batches"
"""Notified when a process should look after a recording batch."""
ROWS_AT_ONCE = 2000

NewRow = tuple[int, str, dict[str, Any]]
"""Number, URL and fields."""


def shown_to(caller: Caller) -> tuple[Any, ...]:
    """The conditions for the batches that a caller may see."""
    return col(RecordingBatch.status).in_(SHOWN), seen_by(caller, RecordingBatch.tenant)


def unknown(batch_id: UUID) -> NotFound:
    return NotFound(f"There is no batch {batch_id}.")


async def lock(session: AsyncSession, batch_id: UUID) -> RecordingBatch | None:
    """The batch, which no other transaction changes until this one ends. None if it was erased."""
    return (await session.exec(select(RecordingBatch).where(RecordingBatch.id == batch_id).with_for_update())).first()


async def lock_for(session: AsyncSession, batch_id: UUID, caller: Caller) -> RecordingBatch:
    """Raises NotFound."""
    statement = select(RecordingBatch).where(RecordingBatch.id == batch_id, *shown_to(caller)).with_for_update()
    batch = (await session.exec(statement)).first()
    if batch is None:
        raise unknown(batch_id)
    return batch


async def begin(session: AsyncSession, batch: RecordingBatch) -> None:
    """Write a batch whose rows will follow. Nobody sees it. If its rows do not follow, it is erased in an hour."""
    session.add(batch)
    await session.flush()


async def add_rows(session: AsyncSession, batch_id: UUID, rows: Sequence[NewRow]) -> None:
    """Insert rows in one statement."""
    statement = text("""
        INSERT INTO recording_batch_row (batch_id, number, url, fields)
        SELECT :batch, number, url, fields::json FROM unnest(:numbers, :urls, :fields) AS row(number, url, fields)
    """).bindparams(
        bindparam("numbers", [number for number, _, _ in rows], type_=ARRAY(Integer)),
        bindparam("urls", [url for _, url, _ in rows], type_=ARRAY(Text)),
        bindparam("fields", [json.dumps(fields) for _, _, fields in rows], type_=ARRAY(Text)),
        batch=batch_id,
    )
    await session.exec(statement)  # type: ignore[call-overload]


async def accept(
    session: AsyncSession, batch_id: UUID, idempotency_key: str | None, total: int
) -> tuple[RecordingBatch, bool]:
    """Let a batch be fed whose rows are written. If its caller has used the idempotency key, find the earlier batch.

    Returns the batch, and whether it is this one. Raises IdempotencyKeyReused, and Unavailable if the request took so
    long that the rows count as left behind.
    """
    batch = await lock(session, batch_id)
    if batch is None or batch.status != BatchStatus.RECEIVING:
        raise Unavailable("The request took too long. Try again.", retry_after=5)
    if idempotency_key is not None:
        await session.exec(
            text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))").bindparams(
                key=f"recording_batch {batch.caller} {idempotency_key}"
            )
        )  # type: ignore[call-overload]
        earlier = await repeated(session, batch.caller, idempotency_key, batch.fingerprint)
        if earlier is not None:
            return earlier, False
    batch.idempotency_key, batch.total = idempotency_key, total
    batch.status, batch.look_at = BatchStatus.FEEDING, await now(session)
    await notify(session, BATCHES_TOPIC)
    return batch, True


async def repeated(session: AsyncSession, caller: str, idempotency_key: str, fingerprint: str) -> RecordingBatch | None:
    """The batch of the earlier request with this key. Raises IdempotencyKeyReused if that was a different one."""
    same = RecordingBatch.caller == caller, RecordingBatch.idempotency_key == idempotency_key
    earlier = (await session.exec(select(RecordingBatch).where(*same))).first()
    if earlier is not None and earlier.fingerprint != fingerprint:
        raise IdempotencyKeyReused("This Idempotency-Key belongs to an earlier, different request.")
    return earlier


async def request_cancel(session: AsyncSession, batch_id: UUID, caller: Caller) -> RecordingBatch:
    """Feed the batch no longer. Its jobs are cancelled soon. Raises NotFound and AlreadyFinal."""
    batch = await lock_for(session, batch_id, caller)
    if batch.status in (BatchStatus.COMPLETED, BatchStatus.CANCELLED):
        raise AlreadyFinal(f"The batch is {batch.status} already.")
    batch.status, batch.look_at = BatchStatus.CANCELLED, await now(session)
    await audit.note_change(session, Action.BATCH_CANCELLED, caller.label, tenant=batch.tenant, about=str(batch_id))
    await notify(session, BATCHES_TOPIC)
    return batch


async def request_erasure(session: AsyncSession, batch_id: UUID, caller: Caller) -> None:
    """Let nobody see the batch any more. Its rows and jobs are erased soon. Raises NotFound."""
    batch = await lock_for(session, batch_id, caller)
    await audit.note_change(session, Action.BATCH_ERASED, caller.label, tenant=batch.tenant, about=str(batch_id))
    await erase_soon(session, batch)


async def erase_soon(session: AsyncSession, batch: RecordingBatch) -> None:
    """Let a locked batch be erased. Its idempotency key may be used again."""
    batch.status, batch.look_at, batch.completed_at = BatchStatus.ERASING, await now(session), None
    batch.idempotency_key = None
    await notify(session, BATCHES_TOPIC)


async def replace_job(session: AsyncSession, batch: RecordingBatch, job_id: UUID, new_id: UUID) -> None:
    """Let a recording of the locked batch have another job. A batch that was completed is not completed any more."""
    statement = text("""
        UPDATE recording_batch_row SET transcription_id = :new WHERE batch_id = :batch AND transcription_id = :old
    """).bindparams(new=new_id, batch=batch.id, old=job_id)
    await session.exec(statement)  # type: ignore[call-overload]
    if batch.status == BatchStatus.COMPLETED:
        batch.status, batch.completed_at, batch.look_at = BatchStatus.RUNNING, None, await now(session)
        await notify(session, BATCHES_TOPIC)


_RETRY = text("""
    WITH again AS MATERIALIZED (
        SELECT row.number, job.id AS job FROM recording_batch_row AS row
        LEFT JOIN transcription AS job ON job.id = row.transcription_id
        WHERE row.batch_id = :batch AND row.number > :after AND row.number <= :until
            AND (row.error_code IS NOT NULL OR job.status = ANY(:statuses))
    ), gone AS (
        UPDATE transcription SET superseded = true FROM again WHERE transcription.id = again.job
    )
    UPDATE recording_batch_row AS row SET transcription_id = NULL, error_code = NULL, error_message = NULL
    FROM again WHERE row.batch_id = :batch AND row.number = again.number
    RETURNING again.job
""")


async def retried_statuses(session: AsyncSession, batch_id: UUID, caller: Caller) -> tuple[int, list[Status]]:
    """How many rows a batch has, and with which statuses of their jobs they are retried.

    A job that a client has cancelled by itself stays cancelled. Of a cancelled batch, all are retried. Raises NotFound,
    and NotCompleted while the batch is being cancelled.
    """
    batch = await lock_for(session, batch_id, caller)
    if batch.status != BatchStatus.CANCELLED:
        return batch.total, [Status.FAILED]
    if batch.completed_at is None:
        raise NotCompleted("The batch is still being cancelled. Try again when it has a `completed_at`.")
    return batch.total, [Status.FAILED, Status.CANCELLED]


async def retry_rows(
    session: AsyncSession, batch_id: UUID, caller: Caller, rows: range, statuses: Sequence[Status]
) -> None:
    """Let those of the rows wait again that were refused, or whose job has one of the statuses. Raises NotFound."""
    batch = await lock_for(session, batch_id, caller)
    again = _RETRY.bindparams(
        bindparam("statuses", [str(status) for status in statuses], type_=ARRAY(Text)),
        batch=batch.id,
        after=rows.start - 1,
        until=rows.stop - 1,
    )
    jobs = (await session.exec(again)).scalars().all()  # type: ignore[call-overload]
    calls = [job for job in jobs if job is not None]
    batch.refused -= len(jobs) - len(calls)
    batch.fed -= len(calls)
    if calls:
        by, about = caller.label, str(batch_id)
        await audit.note_change(session, Action.CALL_RETRIED, by, calls=calls, tenant=batch.tenant, about=about)


async def go_on(session: AsyncSession, batch_id: UUID, caller: Caller) -> RecordingBatch:
    """Feed a batch again whose rows wait, or that was cancelled before all was fed. Raises NotFound."""
    batch = await lock_for(session, batch_id, caller)
    is_unfed = batch.waiting > 0 or not batch.is_listed
    if is_unfed and batch.status != BatchStatus.FEEDING:
        batch.status, batch.completed_at, batch.paced_since = BatchStatus.FEEDING, None, None
    batch.look_at = await now(session)
    await audit.note_change(session, Action.BATCH_RETRIED, caller.label, tenant=batch.tenant, about=str(batch_id))
    await notify(session, BATCHES_TOPIC)
    return batch
