"""All SQL of live calls. A row is there for those who follow a call. The sound is in the spool."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import bindparam, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import col, delete, select, update
from sqlmodel.ext.asyncio.session import AsyncSession

from app.access.callers import Caller
from app.database.notifications import notify
from app.errors import NotFound
from app.jobs.claims.ending import now
from app.jobs.scope import seen_by
from app.live.models import LiveCallRow, LiveEventRow

ENDED_MINUTES = 10
"""How long the live text of an ended call is kept, for those who follow it until its end."""
ERASED_DAYS = 30
"""How long it is remembered that a call was erased, in case its spool could not be."""
LOST_HOURS = 24
"""After so long without a sign of life the row of a call is erased. Its spool, if there is one, is not."""

SILENT_SECONDS = 15
MOST_EVENTS = 1000
"""Of one call in memory, while the database is away."""


def topic(call_id: UUID) -> str:
    """Notified at each change of a call."""
    return f"live:{call_id}"


@dataclass
class News:
    """What is new of a call since it was written last. `events` have their numbers."""

    events: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    partials: dict[str, Any] = field(default_factory=dict)
    heard_seconds: float = 0.0
    changed: bool = False

    def taken(self) -> "News":
        """What is new, which counts as written from now on."""
        taken = News(self.events, dict(self.partials), self.heard_seconds, self.changed)
        self.events, self.changed = [], False
        return taken

    def give_back(self, taken: "News") -> None:
        """Takes back what could not be written. Only the newest MOST_EVENTS events stay."""
        self.events = [*taken.events, *self.events][-MOST_EVENTS:]
        self.changed = True


async def add(session: AsyncSession, row: LiveCallRow) -> None:
    row.started_at = row.beat_at = await now(session)
    session.add(row)


async def write(session: AsyncSession, call_id: UUID, news: News) -> None:
    """Writes what is new. May be repeated after a COMMIT whose answer was lost."""
    values = {"partials": news.partials, "heard_seconds": news.heard_seconds, "beat_at": func.now()}
    await session.exec(update(LiveCallRow).where(col(LiveCallRow.id) == call_id).values(**values))
    for number, event in news.events:
        statement = text("""
            INSERT INTO live_event (call_id, number, event)
            SELECT id, :number, :event FROM live_call WHERE id = :call_id
            ON CONFLICT DO NOTHING
        """)
        await session.exec(
            statement.bindparams(bindparam("event", type_=JSONB), call_id=call_id, number=number, event=event)
        )  # type: ignore[call-overload]
    if news.events or news.changed:
        await notify(session, topic(call_id))


async def interrupt(session: AsyncSession, call_id: UUID) -> None:
    statement = update(LiveCallRow).where(col(LiveCallRow.id) == call_id)
    await session.exec(statement.values(interrupted_at=func.now(), partials={}))
    await notify(session, topic(call_id))


async def resume(session: AsyncSession, call_id: UUID) -> None:
    statement = update(LiveCallRow).where(col(LiveCallRow.id) == call_id)
    await session.exec(statement.values(interrupted_at=None, beat_at=func.now()))
    await notify(session, topic(call_id))


async def end(session: AsyncSession, call_id: UUID, event: Mapping[str, Any], *, has_recording: bool) -> None:
    """Marks a call as ended, with its last event."""
    statement = update(LiveCallRow).where(col(LiveCallRow.id) == call_id, col(LiveCallRow.ended_at).is_(None))
    ended = await session.exec(statement.values(ended_at=func.now(), has_recording=has_recording, partials={}))
    if ended.rowcount:
        last = await last_number(session, call_id)
        session.add(LiveEventRow(call_id=call_id, number=last + 1, event=dict(event)))
        await notify(session, topic(call_id))


async def last_number(session: AsyncSession, call_id: UUID) -> int:
    statement = select(func.coalesce(func.max(LiveEventRow.number), 0)).where(col(LiveEventRow.call_id) == call_id)
    return (await session.exec(statement)).one()


async def running(session: AsyncSession, caller: Caller) -> Sequence[LiveCallRow]:
    """The tenant's calls that have not ended, the oldest first."""
    statement = select(LiveCallRow).where(seen_by(caller, LiveCallRow.tenant), col(LiveCallRow.ended_at).is_(None))
    return (await session.exec(statement.order_by(col(LiveCallRow.id)))).all()


async def read(session: AsyncSession, call_id: UUID, caller: Caller) -> LiveCallRow:
    """Raises NotFound."""
    statement = select(LiveCallRow).where(LiveCallRow.id == call_id, seen_by(caller, LiveCallRow.tenant))
    row = (await session.exec(statement)).first()
    if row is None:
        raise NotFound("There is no live call with this id. If it has ended, read its transcription.")
    return row


async def is_silent(session: AsyncSession, row: LiveCallRow) -> bool:
    """Whether the process of the call gave no sign of life for a while."""
    return await now(session) - row.beat_at > timedelta(seconds=SILENT_SECONDS)


async def events_after(session: AsyncSession, call_id: UUID, number: int) -> list[tuple[int, dict[str, Any]]]:
    statement = select(LiveEventRow.number, LiveEventRow.event).where(
        col(LiveEventRow.call_id) == call_id, col(LiveEventRow.number) > number
    )
    return [(each, dict(event)) for each, event in await session.exec(statement.order_by(col(LiveEventRow.number)))]


async def forget(session: AsyncSession) -> None:
    """Erases the rows of calls that ended a while ago, and of those whose process and disk are gone."""
    at = await now(session)
    ended = (col(LiveCallRow.ended_at) < at - timedelta(minutes=ENDED_MINUTES)) & col(LiveCallRow.has_recording)
    lost = (col(LiveCallRow.beat_at) < at - timedelta(hours=LOST_HOURS)) & col(LiveCallRow.ended_at).is_(None)
    erased = col(LiveCallRow.ended_at) < at - timedelta(days=ERASED_DAYS)
    await session.exec(delete(LiveCallRow).where(ended | lost | erased))


async def is_erased(session: AsyncSession, call_id: UUID) -> bool:
    """Whether a client has erased the call, so that what is left of its spool must not become a job again."""
    row = await session.get(LiveCallRow, call_id)
    return row is not None and row.ended_at is not None and not row.has_recording
