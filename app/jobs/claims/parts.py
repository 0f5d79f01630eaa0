"""The text of running jobs, for clients that read along: all SQL of `transcript_part`.

A worker writes a part with the token of its lease, so that a worker that has lost the job writes nothing. Readers see
only the parts of the attempt that runs. The transaction that ends an attempt removes its parts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import ColumnElement, and_, text
from sqlmodel import col, delete, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.database.notifications import notify
from app.jobs.claims.claiming import Claimed
from app.jobs.models import Transcription, TranscriptPart, stored_segments
from app.jobs.topics import changed_topic
from app.transcripts.transcript import Segment

# FOR SHARE makes the transaction that ends the attempt wait, and checks the lease again if this one had to wait.
# Without it, a part could be written directly after its attempt has ended, and would stay.
_WRITE = text("""
    WITH leased AS MATERIALIZED (
        SELECT id FROM transcription WHERE id = :id AND status = 'in_progress' AND lease_token = :token FOR SHARE
    )
    INSERT INTO transcript_part (transcription_id, lease_token, number, until, segments)
    SELECT id, :token, :number, :until, :segments FROM leased
    ON CONFLICT (transcription_id, lease_token, number)
    DO UPDATE SET until = excluded.until, segments = excluded.segments
    RETURNING number
""")


@dataclass(frozen=True, slots=True)
class Part:
    """Segments of one attempt that are final, in their order. `number` counts the attempt's parts from 0.

    With the parts before it, it has all segments that begin before `until`, in seconds.
    """

    number: int
    until: float
    segments: tuple[Segment, ...]


@dataclass(frozen=True, slots=True)
class TextSoFar:
    """Final segments, ordered by start. All text that begins before `until`, in seconds, is final.

    The segments have no words. Ask for what follows with `after` set to `until`.
    """

    segments: tuple[Segment, ...]
    until: float


async def write(session: AsyncSession, job: Claimed, part: Part) -> bool:
    """Write a part of a claimed job, and notify the clients that read along.

    If the part was written before, it is replaced. If the lease was lost, write nothing and return False.
    """
    segments = stored_segments.dump_json(part.segments).decode()
    statement = _WRITE.bindparams(
        id=job.id, token=job.lease_token, number=part.number, until=part.until, segments=segments
    )
    if (await session.exec(statement)).first() is None:  # type: ignore[call-overload]
        return False
    await notify(session, changed_topic(job.id))
    return True


async def remove(session: AsyncSession, transcription_id: UUID) -> None:
    """Remove the parts of an attempt that ends."""
    await session.exec(delete(TranscriptPart).where(col(TranscriptPart.transcription_id) == transcription_id))


async def read(
    session: AsyncSession, transcription_id: UUID, seen: ColumnElement[bool], after: float
) -> Sequence[TranscriptPart] | None:
    """The parts of the running attempt that end after `after`; None if there is no such job among those `seen`."""
    of_attempt = and_(
        col(TranscriptPart.transcription_id) == Transcription.id,
        col(TranscriptPart.lease_token) == Transcription.lease_token,
        col(TranscriptPart.until) > after,
    )
    statement = (
        select(Transcription.id, TranscriptPart)
        .outerjoin(TranscriptPart, of_attempt)
        .where(Transcription.id == transcription_id, seen)
        .order_by(col(TranscriptPart.number))
    )
    rows = (await session.exec(statement)).all()
    return [part for _, part in rows if part is not None] if rows else None


def joined(parts: Sequence[TranscriptPart], after: float) -> TextSoFar:
    """The segments of the parts that begin at `after` or later. `parts` are in their order."""
    segments = (segment for part in parts for segment in stored_segments.validate_json(part.segments))
    until = max([after, *(part.until for part in parts)])
    return TextSoFar(tuple(segment for segment in segments if segment.start >= after), until)
