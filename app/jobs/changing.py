"""Every change of jobs that a client may ask for: a new job, a cancellation, an erasure, another delivery.

`scope` decides which existing jobs a caller may change. This module changes rows only. Its callers erase recordings
after the commit.
"""

from typing import Any
from uuid import UUID

from sqlalchemy import func
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, delete, select
from sqlmodel.ext.asyncio.session import AsyncSession
from sqlmodel.sql.expression import SelectOfScalar

from app.callers import Caller
from app.database.notifications import notify
from app.deliveries import outbox
from app.deliveries.models import Delivery, Event
from app.errors import AlreadyFinal, AppError, IdempotencyKeyReused, QueueFull
from app.jobs import awaited
from app.jobs.ending import AtEnd, Written, now, write_with_end
from app.jobs.lifecycle import FINAL, RATE_WINDOW, Status, come_back_after
from app.jobs.models import NewJob, Transcription, stored_options, stored_outputs, unknown
from app.jobs.queue_limit import QueueLimit
from app.jobs.scope import seen_by
from app.jobs.topics import PENDING_TOPIC, cancelled_topic, changed_topic


async def require_queue_place(session: AsyncSession, caller: str, limit: QueueLimit) -> None:
    """Raises QueueFull if so many jobs wait that this caller may not add another one."""
    pending = select(Transcription.id).where(Transcription.status == Status.PENDING)
    waiting = await _count(session, pending.limit(limit.pending))
    if limit.admits(waiting, limit.pending):
        return
    own = await _count(session, pending.where(Transcription.caller == caller).limit(limit.reserve))
    if not limit.admits(waiting, own):
        lately = select(Transcription.id).where(col(Transcription.completed_at) > func.now() - RATE_WINDOW)
        seconds = come_back_after(waiting, await _count(session, lately))
        others = "" if waiting == limit.pending else " The places that are left are for other API keys."
        detail = f"{waiting} transcriptions are waiting.{others}"
        raise QueueFull(detail, retry_after=seconds)


async def _count(session: AsyncSession, rows: SelectOfScalar[Any]) -> int:
    return (await session.exec(select(func.count()).select_from(rows.subquery()))).one()


async def enqueue(session: AsyncSession, job: NewJob, limit: QueueLimit) -> tuple[Transcription, bool]:
    """Insert a job. If the caller has used its idempotency key before, find the job of that request instead.

    Returns the job, and whether it is new. Raises QueueFull, and IdempotencyKeyReused if the key was used for a
    different request.
    """
    if (earlier := await repeated(session, job.caller, job.idempotency_key, job.fingerprint)) is not None:
        return earlier, False
    await require_queue_place(session, job.caller, limit)
    insertion = insert(Transcription).values(_row(job)).on_conflict_do_nothing(constraint="transcription_idempotency")
    inserted = (await session.exec(insertion.returning(Transcription))).scalars().first()
    if inserted is None:  # another request with the same key was written in between, and can be read now
        return await enqueue(session, job, limit)
    await notify(session, PENDING_TOPIC)
    return inserted, True


async def enqueue_awaited(
    session: AsyncSession, job: NewJob, request_hash: str, limit: QueueLimit
) -> tuple[Transcription, bool]:
    """Insert a job that a client waits for, or join the job of an earlier request with the same hash.

    Returns the job, and whether it is new. Raises QueueFull.
    """
    await awaited.lock(session, job.caller, request_hash)
    if (earlier := await awaited.join(session, job.caller, request_hash)) is not None:
        return earlier, False
    inserted, is_new = await enqueue(session, job, limit)
    await awaited.add(session, inserted.id, job.caller, request_hash)
    return inserted, is_new


def _row(job: NewJob) -> dict[str, Any]:
    columns = {name: value for name, value in vars(job).items() if name != "metadata"}
    columns["options"] = stored_options.dump_python(job.options, mode="json")
    columns["outputs"] = stored_outputs.dump_python(job.outputs, mode="json")
    given = Transcription(**columns).model_dump(exclude={"metadata_", "hindrances", "created_at", "run_at"})
    return given | {"metadata": job.metadata, "created_at": func.now(), "run_at": func.now()}


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
    session: AsyncSession, transcription_id: UUID, caller: Caller, at_end: AtEnd, *, why: AppError | None = None
) -> Written:
    """Cancel a job. A waiting job ends immediately. A running job ends when its worker has read the notification.

    `why` is shown as the job's error if the service itself cancels it. Raises NotFound, and AlreadyFinal if the job
    has ended before.
    """
    job = await lock(session, transcription_id, caller)
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


async def erase(session: AsyncSession, transcription_id: UUID, caller: Caller) -> Transcription:
    """Delete a job with its transcript. If a worker runs the job, the worker loses its lease. Raises NotFound."""
    job = await lock(session, transcription_id, caller)
    await session.exec(delete(Transcription).where(col(Transcription.id) == transcription_id))
    await notify(session, cancelled_topic(transcription_id))
    await notify(session, changed_topic(transcription_id))
    return job


async def redeliver(session: AsyncSession, delivery_id: UUID, caller: Caller) -> tuple[Event, Delivery]:
    """Send a delivery's event again, with a schedule that starts anew. Raises NotFound."""
    return await outbox.redeliver(session, delivery_id, select(Transcription.id).where(seen_by(caller)))


async def lock(session: AsyncSession, transcription_id: UUID, caller: Caller) -> Transcription:
    """The job, which no other transaction changes until this one ends. Raises NotFound."""
    statement = select(Transcription).where(Transcription.id == transcription_id, seen_by(caller)).with_for_update()
    job = (await session.exec(statement)).first()
    if job is None:
        raise unknown(transcription_id)
    return job
