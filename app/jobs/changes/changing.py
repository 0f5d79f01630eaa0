"""Every change of jobs that a client may ask for: a new job, a cancellation, an erasure, another delivery.

`scope` decides which existing jobs a caller may change. This module changes rows only. Its callers erase recordings
after the commit.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any
from uuid import UUID

from sqlalchemy import and_, func, not_, or_, text
from sqlalchemy.dialects.postgresql import array, insert
from sqlmodel import SQLModel, col, delete, select
from sqlmodel.ext.asyncio.session import AsyncSession
from sqlmodel.sql.expression import SelectOfScalar

from app.access import audit
from app.access.audit import Action
from app.access.callers import Caller, tenant_of
from app.database.notifications import notify
from app.deliveries import outbox
from app.deliveries.models import Delivery, Event
from app.errors import AlreadyFinal, AppError, IdempotencyKeyReused, NotFound, QueueFull
from app.jobs import results
from app.jobs.changes import awaited, quotas
from app.jobs.changes.followed import SCHEME
from app.jobs.changes.queue_limit import QueueLimit
from app.jobs.claims.ending import AtEnd, Written, now, write_with_end
from app.jobs.lifecycle import FINAL, RATE_WINDOW, Status, come_back_after
from app.jobs.models import (
    ErasedFile,
    NewJob,
    Transcription,
    stored_options,
    stored_outputs,
    unknown,
)
from app.jobs.scope import seen_by
from app.jobs.topics import PENDING_TOPIC, cancelled_topic, changed_topic
from app.transcripts.transcript import Transcript

# With the values in its text, so that PostgreSQL finds the index of exactly these rows in every plan.
WAITING = text("transcription.status = 'pending' AND transcription.batch_id IS NULL")


async def require_queue_place(session: AsyncSession, caller: str, limit: QueueLimit) -> None:
    """Raises QueueFull if so many jobs wait that this caller may not add another one.

    Jobs of recording batches do not count, because they wait behind the calls of the day.
    """
    pending = select(Transcription.id).where(WAITING)
    waiting = await _count(session, pending.limit(limit.pending))
    if waiting < limit.open_to_all:
        return
    of_tenant = pending.where(Transcription.tenant == tenant_of(caller))
    own = await _count(session, of_tenant.where(Transcription.caller == caller).limit(limit.reserve))
    if not limit.admits(waiting, own, await _count(session, of_tenant.limit(limit.open_to_tenant))):
        lately = select(Transcription.id).where(col(Transcription.completed_at) > func.now() - RATE_WINDOW)
        seconds = come_back_after(waiting, await _count(session, lately))
        others = "" if waiting == limit.pending else " The places that are left are for other API keys."
        detail = f"{waiting} transcriptions are waiting.{others}"
        raise QueueFull(detail, retry_after=seconds)


async def _count(session: AsyncSession, rows: SelectOfScalar[Any]) -> int:
    return (await session.exec(select(func.count()).select_from(rows.subquery()))).one()


async def enqueue(
    session: AsyncSession, job: NewJob, limit: QueueLimit | None, caller: Caller | None = None
) -> tuple[Transcription, bool]:
    """Insert a job. If the caller has used its idempotency key before, find the job of that request instead.

    The quotas of the `caller` hold, if it is given. Returns the job, and whether it is new. Raises QuotaExceeded,
    QueueFull if there is a limit, and IdempotencyKeyReused if the key was used for a different request.
    """
    if (earlier := await repeated(session, job.caller, job.idempotency_key, job.fingerprint)) is not None:
        return earlier, False
    if caller is not None:
        await quotas.require(session, caller, job.duration, exactly=True)
    if limit is not None:
        await require_queue_place(session, job.caller, limit)
    insertion = insert(Transcription).values(_row(job)).on_conflict_do_nothing(constraint="transcription_idempotency")
    inserted = (await session.exec(insertion.returning(Transcription))).scalars().first()
    if inserted is None:  # another request with the same key was written in between, and can be read now
        return await enqueue(session, job, limit, caller)
    await notify(session, PENDING_TOPIC)
    return inserted, True


async def enqueue_many(session: AsyncSession, jobs: Sequence[NewJob]) -> None:
    """Insert jobs of a recording batch. They have no idempotency key, and do not count for the queue's limit."""
    if not jobs:
        return
    at = await now(session)
    usual = _row(jobs[0]) | {"created_at": at, "run_at": at}  # the defaults are those of every job
    rows = [usual | _columns(job) for job in jobs]
    await session.exec(insert(SQLModel.metadata.tables["transcription"]), params=rows)
    await notify(session, PENDING_TOPIC)


async def enqueue_awaited(
    session: AsyncSession, job: NewJob, request_hash: str, limit: QueueLimit, caller: Caller | None = None
) -> tuple[Transcription, bool]:
    """Insert a job that a client waits for, or join the job of an earlier request with the same hash.

    Returns the job, and whether it is new. Raises QueueFull and QuotaExceeded.
    """
    await awaited.lock(session, job.caller, request_hash)
    if (earlier := await awaited.join(session, job.caller, request_hash)) is not None:
        return earlier, False
    inserted, is_new = await enqueue(session, job, limit, caller)
    await awaited.add(session, inserted.id, job.caller, request_hash)
    return inserted, is_new


async def add_completed(
    session: AsyncSession, job: NewJob, transcript: Transcript, at_end: AtEnd
) -> tuple[Transcription, bool]:
    """Insert a job that has ended already, because its transcript is known, with its event.

    Returns the job, and whether it is new. Raises IdempotencyKeyReused.
    """
    if (earlier := await repeated(session, job.caller, job.idempotency_key, job.fingerprint)) is not None:
        return earlier, False
    result = await asyncio.to_thread(results.prepare, transcript, tenant_of(job.caller))
    ended = {"status": Status.COMPLETED, "progress": 1.0, "completed_at": func.now()}
    insertion = insert(Transcription).values(_row(job) | ended)
    insertion = insertion.on_conflict_do_nothing(constraint="transcription_idempotency")
    inserted = (await session.exec(insertion.returning(Transcription))).scalars().first()
    if inserted is None:
        return await add_completed(session, job, transcript, at_end)
    await results.write(session, inserted, result)
    return (await write_with_end(session, inserted, at_end)).job, True


def _row(job: NewJob) -> dict[str, Any]:
    columns = _columns(job)
    metadata = columns.pop("metadata")
    given = Transcription(**columns).model_dump(exclude={"metadata_", "hindrances", "created_at", "run_at"})
    return given | {"metadata": metadata, "created_at": func.now(), "run_at": func.now()}


def _columns(job: NewJob) -> dict[str, Any]:
    columns = dict(vars(job)) | {"tenant": tenant_of(job.caller)}
    columns["options"] = stored_options.dump_python(job.options, mode="json")
    columns["outputs"] = stored_outputs.dump_python(job.outputs, mode="json")
    return columns


async def repeated(
    session: AsyncSession, caller: str, idempotency_key: str | None, fingerprint: str
) -> Transcription | None:
    """The job of the earlier request that this one repeats, or None if it repeats none.

    Raises IdempotencyKeyReused if the caller has used the idempotency key for a different request.
    """
    if idempotency_key is None:
        return None
    earlier = (await session.exec(select(Transcription).where(*_same_key(caller, idempotency_key)))).first()
    if earlier is not None and earlier.fingerprint != fingerprint:
        raise IdempotencyKeyReused("This Idempotency-Key belongs to an earlier, different request.")
    return earlier


async def key_is_known(session: AsyncSession, caller: str, idempotency_key: str) -> bool:
    return (await session.exec(select(Transcription.id).where(*_same_key(caller, idempotency_key)))).first() is not None


def _same_key(caller: str, idempotency_key: str) -> tuple[Any, ...]:
    return Transcription.caller == caller, Transcription.idempotency_key == idempotency_key


async def request_cancel(
    session: AsyncSession,
    transcription_id: UUID,
    caller: Caller | None,
    at_end: AtEnd,
    *,
    operator: str = "",
    why: AppError | None = None,
) -> Written:
    """Cancel a job. A waiting job ends immediately. A running job ends when its worker has read the notification.

    `why` is shown as the job's error if the service itself cancels it, and the audit has no entry then. Raises
    NotFound, and AlreadyFinal if the job has ended before.
    """
    job = await lock(session, transcription_id, caller)
    requested_before = job.cancel_requested
    written = await _cancel(session, job, at_end, why)
    if why is None and not requested_before:
        by = operator if caller is None else caller.label
        await audit.note_change(session, Action.CALL_CANCELLED, by, calls=[transcription_id], tenant=job.tenant)
    return written


async def _cancel(session: AsyncSession, job: Transcription, at_end: AtEnd, why: AppError | None = None) -> Written:
    if job.status in FINAL:
        raise AlreadyFinal(f"The transcription is {job.status} already.")
    ended = await now(session)
    job.cancel_requested = True
    if why is not None:
        job.error_code, job.error_message = why.code, why.detail
    if job.status == Status.PENDING:
        job.status, job.completed_at = Status.CANCELLED, ended
    else:
        await notify(session, cancelled_topic(job.id))
    await notify(session, changed_topic(job.id))
    return await write_with_end(session, job, at_end)


async def erase(
    session: AsyncSession, transcription_id: UUID, caller: Caller | None, operator: str = ""
) -> Transcription:
    """Delete a job with its transcript. If a worker runs the job, the worker loses its lease. Raises NotFound.

    The recording of a watched folder is erased by a process that watches it (`jobs.changes.followed`).
    """
    job = await lock(session, transcription_id, caller)
    if job.source.startswith(SCHEME):
        session.add(
            ErasedFile(
                transcription_id=job.id,
                idempotency_key=job.idempotency_key,
                source=job.source,
                erased_at=await now(session),
            )
        )
    await session.exec(delete(Transcription).where(col(Transcription.id) == transcription_id))
    await _erase_live_text(session, transcription_id)
    by = operator if caller is None else caller.label
    await audit.note_change(session, Action.CALL_ERASED, by, calls=[transcription_id], tenant=job.tenant)
    await notify(session, cancelled_topic(transcription_id))
    await notify(session, changed_topic(transcription_id))
    return job


async def _erase_live_text(session: AsyncSession, transcription_id: UUID) -> None:
    """Of a live call only its id stays for a while, so that what is left of its sound becomes no job again."""
    statements = (
        "DELETE FROM live_event WHERE call_id = :id",
        """
        UPDATE live_call SET has_recording = false, external_id = NULL, metadata = '{}', speakers = '{}',
            partials = '{}', ended_at = coalesce(ended_at, now())
        WHERE id = :id
        """,
    )
    for statement in statements:
        await session.exec(text(statement).bindparams(id=transcription_id))  # type: ignore[call-overload]


async def cancel_some_of_batch(
    session: AsyncSession, batch_id: UUID, caller: Caller, at_end: AtEnd, limit: int
) -> list[Written]:
    """Cancel up to `limit` jobs of a recording batch. Returns none if there is no job left to cancel.

    The audit says in another entry who cancelled the batch.
    """
    going_on = or_(
        col(Transcription.status) == Status.PENDING,
        and_(col(Transcription.status) == Status.IN_PROGRESS, not_(col(Transcription.cancel_requested))),
    )
    statement = select(Transcription.id).where(Transcription.batch_id == batch_id, going_on, seen_by(caller))
    cancelled = []
    for job_id in (await session.exec(statement.limit(limit))).all():
        with suppress(NotFound, AlreadyFinal):  # it has ended or was deleted meanwhile
            cancelled.append(await _cancel(session, await lock(session, job_id, caller), at_end))
    if cancelled:
        by, ids, about = audit.BATCH, [written.job.id for written in cancelled], str(batch_id)
        await audit.note_change(session, Action.CALL_CANCELLED, by, calls=ids, tenant=caller.tenant, about=about)
    return cancelled


async def erase_some_of_batch(
    session: AsyncSession, batch_id: UUID, tenant: str, limit: int
) -> list[tuple[UUID, list[str]]]:
    """Delete up to `limit` jobs of a tenant's recording batch, with their transcripts.

    Returns their ids and the keys of their recordings. The audit says in another entry who erased the batch.
    """
    some = select(Transcription.id).where(Transcription.batch_id == batch_id).limit(limit)
    statement = delete(Transcription).where(col(Transcription.id).in_(some))
    keys = func.array_remove(array([col(Transcription.audio_key), col(Transcription.original_audio_key)]), None)
    erased = (await session.exec(statement.returning(col(Transcription.id), keys, col(Transcription.status)))).all()
    if erased:
        ids, about = [job_id for job_id, _, _ in erased], str(batch_id)
        await audit.note_change(session, Action.CALL_ERASED, audit.BATCH, calls=ids, tenant=tenant, about=about)
    for job_id, _, status in erased:
        if status not in FINAL:
            await notify(session, cancelled_topic(job_id))
            await notify(session, changed_topic(job_id))
    return [(job_id, each) for job_id, each, _ in erased]


async def redeliver(session: AsyncSession, delivery_id: UUID, caller: Caller) -> tuple[Event, Delivery]:
    """Send a delivery's event again, with a schedule that starts anew. Raises NotFound."""
    return await outbox.redeliver(session, delivery_id, select(Transcription.id).where(seen_by(caller)))


async def lock(session: AsyncSession, transcription_id: UUID, caller: Caller | None) -> Transcription:
    """The job, which no other transaction changes until this one ends. Raises NotFound."""
    statement = select(Transcription).where(Transcription.id == transcription_id, seen_by(caller)).with_for_update()
    job = (await session.exec(statement)).first()
    if job is None:
        raise unknown(transcription_id)
    return job
