"""The table of jobs whose clients wait for their end on an open connection. All SQL that changes it is here.

OpenAI's clients are such clients. They send no idempotency key, and repeat a request that took too long. So a repeat is
recognized by who asks, and what for. It joins the job of the first request, so that one job serves both.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, and_, func, insert, or_, text
from sqlmodel import col, delete, select, update
from sqlmodel.ext.asyncio.session import AsyncSession

from app.jobs.lifecycle import Status
from app.jobs.models import AwaitedJob, Transcription

JOINED_AFTER_END = timedelta(minutes=10)
"""So long after its end, a completed job answers repeated requests."""
GRACE = timedelta(seconds=20)
"""So long after its last client hung up, a job still waits for a repeated request. Clients pause for 8 s at most."""


async def lock(session: AsyncSession, caller: str, request_hash: str) -> None:
    """Makes equal requests that arrive at the same time enqueue one after the other, until the transaction ends."""
    statement = text("SELECT pg_advisory_xact_lock(hashtextextended(:request, 0))")
    await session.exec(statement.bindparams(request=f"{caller}:{request_hash}"))  # type: ignore[call-overload]


async def join(session: AsyncSession, caller: str, request_hash: str) -> Transcription | None:
    """The job of an earlier request that this one repeats, from now on awaited by this one too. None if there is none.

    A job that has failed or was cancelled is not joined, so that a client can try again.
    """
    answers = or_(
        col(Transcription.completed_at).is_(None),
        and_(
            col(Transcription.status) == Status.COMPLETED,
            col(Transcription.completed_at) > func.now() - JOINED_AFTER_END,
        ),
    )
    same = (AwaitedJob.caller == caller, AwaitedJob.request_hash == request_hash)
    statement = (
        select(Transcription)
        .join(AwaitedJob)
        .where(*same, answers, col(Transcription.cancel_requested).is_(False))
        .order_by(col(Transcription.id).desc())
        .limit(1)
        .with_for_update(of=AwaitedJob)
    )
    job = (await session.exec(statement)).first()
    if job is not None:
        await extend(session, [job.id])
    return job


async def add(session: AsyncSession, transcription_id: UUID, caller: str, request_hash: str) -> None:
    """Records that a client waits for a new job."""
    row = {"transcription_id": transcription_id, "caller": caller, "request_hash": request_hash}
    await session.exec(insert(AwaitedJob).values(**row, awaited_until=func.now() + GRACE))


@dataclass(frozen=True, slots=True)
class Upload:
    """A request of a caller while its recording arrives. The recording has from `least_bytes` to `most_bytes`."""

    caller: str
    least_bytes: int
    most_bytes: int

    @property
    def may_repeat(self) -> tuple[ColumnElement[bool], ...]:
        """The rows of jobs and of awaited jobs, joined, that the request may repeat."""
        size = col(Transcription.bytes).between(self.least_bytes, self.most_bytes)
        return col(AwaitedJob.transcription_id) == Transcription.id, col(AwaitedJob.caller) == self.caller, size


async def may_be_repeated(session: AsyncSession, upload: Upload) -> bool:
    """Whether the caller has a job that the request may repeat."""
    statement = select(Transcription.id, AwaitedJob.transcription_id).where(*upload.may_repeat)
    return (await session.exec(statement.limit(1))).first() is not None


async def repeated_by(session: AsyncSession, upload: Upload) -> set[UUID]:
    """The jobs that the request may repeat, and that a client has awaited until shortly before. Keeps them.

    A job that was abandoned earlier is none of them. Otherwise a caller that sends one recording after the other would
    keep all of its abandoned jobs.
    """
    lately = col(AwaitedJob.awaited_until) > func.now()
    statement = update(AwaitedJob).where(*upload.may_repeat, lately, col(Transcription.completed_at).is_(None))
    kept = statement.values(kept_until=func.now() + GRACE).returning(col(AwaitedJob.transcription_id))
    return set((await session.exec(kept)).scalars())


async def keep(session: AsyncSession, ids: Collection[UUID]) -> None:
    """Keeps jobs that a request may repeat that still arrives."""
    statement = update(AwaitedJob).where(col(AwaitedJob.transcription_id).in_(ids))
    await session.exec(statement.values(kept_until=func.now() + GRACE))


async def extend(session: AsyncSession, ids: Collection[UUID]) -> None:
    """Moves the time at which these jobs count as abandoned."""
    statement = update(AwaitedJob).where(col(AwaitedJob.transcription_id).in_(ids))
    await session.exec(statement.values(awaited_until=func.now() + GRACE))


async def abandoned(session: AsyncSession, limit: int) -> Sequence[AwaitedJob]:
    """Jobs that have not ended, and that no client waits for any more."""
    statement = (
        select(AwaitedJob)
        .join(Transcription)
        .where(col(Transcription.completed_at).is_(None), _is_abandoned())
        .limit(limit)
    )
    return (await session.exec(statement)).all()


async def give_up(session: AsyncSession, transcription_id: UUID) -> bool:
    """Forgets that a job is awaited. Returns false if a client has joined it meanwhile."""
    statement = delete(AwaitedJob).where(col(AwaitedJob.transcription_id) == transcription_id, _is_abandoned())
    return bool((await session.exec(statement)).rowcount)


async def forget_ended(session: AsyncSession) -> None:
    """Deletes the rows of jobs that ended so long ago that they answer no repeated request."""
    ended = select(Transcription.id).where(
        Transcription.id == AwaitedJob.transcription_id, col(Transcription.completed_at) < func.now() - JOINED_AFTER_END
    )
    old = col(AwaitedJob.awaited_until) < func.now() - JOINED_AFTER_END
    await session.exec(delete(AwaitedJob).where(old, ended.exists()))


def _is_abandoned() -> ColumnElement[bool]:
    return func.greatest(AwaitedJob.awaited_until, AwaitedJob.kept_until) < func.now()  # it ignores null
