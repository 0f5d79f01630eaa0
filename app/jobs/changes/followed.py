"""What a watched folder reads about its jobs, and the memory of those whose transcription was deleted.

The recording of such a job may still be in the folder. It has to be erased too, but a job that is unknown for another
reason, as after a restored backup, must not cost a recording. So a deletion leaves a row.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy import Interval, Text, Uuid, bindparam, func, text
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlmodel import col, select, update
from sqlmodel.ext.asyncio.session import AsyncSession
from uuid_utils.compat import uuid7

from app.deliveries.models import OUTPUTS
from app.jobs.lifecycle import Status
from app.jobs.models import ErasedFile, Installation, Transcription

SCHEME = "file://"
KEPT = timedelta(days=7)  # a process that was stopped may still have to move the recording of such a job


@dataclass(frozen=True)
class Followed:
    """A job of the folder. `outputs_left` counts outputs that are still to be written, `outputs_failed` those that
    never will be.
    """

    status: Status
    error_code: str | None
    error_message: str | None
    bytes: int | None
    outputs_left: int
    outputs_failed: int


async def installation(session: AsyncSession) -> UUID:
    """The id of this database."""
    await session.exec(insert(Installation).values(is_only=True, id=uuid7()).on_conflict_do_nothing())
    return (await session.exec(select(Installation.id))).one()


async def by_keys(session: AsyncSession, caller: str, keys: Sequence[str]) -> dict[str, UUID]:
    """The jobs with these idempotency keys."""
    array = bindparam("keys", list(keys), type_=ARRAY(Text))
    statement = select(Transcription.idempotency_key, Transcription.id).where(Transcription.caller == caller)
    rows = await session.exec(statement.where(col(Transcription.idempotency_key) == func.any(array)))
    return {key: job_id for key, job_id in rows if key is not None}


async def erased_keys(session: AsyncSession, keys: Sequence[str]) -> set[str]:
    """Those of the keys whose transcription was deleted."""
    array = bindparam("keys", list(keys), type_=ARRAY(Text))
    rows = await session.exec(
        select(ErasedFile.idempotency_key).where(col(ErasedFile.idempotency_key) == func.any(array))
    )
    return {key for key in rows if key is not None}


async def erased_among(session: AsyncSession, ids: Collection[UUID]) -> set[UUID]:
    """Those of the jobs that were deleted."""
    rows = await session.exec(select(ErasedFile.transcription_id).where(col(ErasedFile.transcription_id).in_(ids)))
    return set(rows)


STATES = text("""
    SELECT job.id, job.status, job.error_code, job.error_message, job.bytes,
           count(delivery.id) FILTER (WHERE delivery.status = 'pending') AS outputs_left,
           count(delivery.id) FILTER (WHERE delivery.status = 'failed') AS outputs_failed
    FROM transcription AS job
    LEFT JOIN event ON event.transcription_id = job.id
    LEFT JOIN delivery ON delivery.event_id = event.id AND delivery.style = ANY(:outputs)
    WHERE job.id = ANY(:ids)
    GROUP BY job.id
""")


async def states(session: AsyncSession, ids: Collection[UUID]) -> dict[UUID, Followed]:
    """The jobs that exist."""
    outputs = bindparam("outputs", list(OUTPUTS), type_=ARRAY(Text))
    found = STATES.bindparams(bindparam("ids", list(ids), type_=ARRAY(Uuid)), outputs)
    rows = await session.exec(found)  # type: ignore[call-overload]
    return {row.id: Followed(Status(row.status), *row[2:]) for row in rows}


async def waiting(session: AsyncSession, caller: str, most: int) -> int:
    """How many jobs of the caller wait, at most `most`."""
    pending = select(Transcription.id).where(Transcription.status == Status.PENDING, Transcription.caller == caller)
    return (await session.exec(select(func.count()).select_from(pending.limit(most).subquery()))).one()


async def newly_erased(session: AsyncSession, below: str, most: int) -> list[UUID]:
    """Up to `most` deleted jobs whose source began with `below`, and whose files were not searched for yet."""
    unused = select(ErasedFile.transcription_id).where(col(ErasedFile.used_at).is_(None))
    return list(await session.exec(unused.where(col(ErasedFile.source).startswith(below, autoescape=True)).limit(most)))


async def used(session: AsyncSession, ids: Collection[UUID]) -> None:
    """Remember that the files of these deleted jobs were searched for."""
    await session.exec(update(ErasedFile).where(col(ErasedFile.transcription_id).in_(ids)).values(used_at=func.now()))


async def forget_old(session: AsyncSession) -> None:
    """Forget the deleted jobs whose files were searched for long ago."""
    old = text("DELETE FROM erased_file WHERE used_at < now() - :kept")
    await session.exec(old.bindparams(bindparam("kept", KEPT, type_=Interval)))  # type: ignore[call-overload]
