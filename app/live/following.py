"""Reads live calls for everybody who follows them.

The calls may be in other processes, so all of it comes from the database.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from app.access import audit
from app.access.audit import Action
from app.access.callers import Caller
from app.database.connections import Database
from app.database.notifications import Signals
from app.live import rows
from app.live.models import LiveCallRow
from app.process.tasks import within

POLL_SECONDS = 2.0  # a notification is only a hint


@dataclass(frozen=True, slots=True)
class LiveView:
    """A live call as it is now. `status` is `running`, `interrupted` or `ended`."""

    id: UUID
    status: str
    external_id: str | None
    metadata: dict[str, Any]
    dialect: str
    speakers: Sequence[str]
    heard_seconds: float
    started_at: datetime
    ended_at: datetime | None
    has_recording: bool


class Following:
    def __init__(self, database: Database, signals: Signals) -> None:
        self._database = database
        self._signals = signals

    async def running(self, caller: Caller) -> list[LiveView]:
        """The calls of the caller's tenant that have not ended, the oldest first."""
        async with self._database.transaction() as session:
            return [_view(row, await rows.is_silent(session, row)) for row in await rows.running(session, caller)]

    async def read(self, call_id: UUID, caller: Caller) -> LiveView:
        """Raises NotFound."""
        async with self._database.transaction() as session:
            row = await rows.read(session, call_id, caller)
            return _view(row, await rows.is_silent(session, row))

    async def events(
        self, call_id: UUID, caller: Caller, after: int = 0
    ) -> AsyncIterator[tuple[int, dict[str, Any]] | None]:
        """The events after number `after`, until the call has ended. None each time that there may be news and is none.

        A partial has the number of the event before it. Raises NotFound, and one of DATABASE_TROUBLE.
        """
        sent: dict[str, Any] = {}
        is_first = True
        with self._signals.subscribe(rows.topic(call_id)) as notified:
            while True:
                notified.clear()
                async with self._database.transaction() as session:
                    row = await rows.read(session, call_id, caller)
                    events = await rows.events_after(session, call_id, after)
                    if is_first:
                        await audit.note_read(session, Action.TRANSCRIPT_STREAMED, caller, [call_id])
                        is_first = False
                for number, event in events:
                    after = number
                    yield number, event
                for channel, partial in row.partials.items():
                    if sent.get(channel) != partial:
                        yield after, partial
                sent = row.partials
                if row.ended_at is not None:
                    return
                if not events:
                    yield None
                with suppress(TimeoutError):
                    await within(POLL_SECONDS, notified.wait())


def _view(row: LiveCallRow, is_silent: bool) -> LiveView:
    interrupted = row.interrupted_at is not None or is_silent
    status = "ended" if row.ended_at else "interrupted" if interrupted else "running"
    return LiveView(
        row.id,
        status,
        row.external_id,
        row.metadata_,
        row.dialect,
        row.speakers,
        row.heard_seconds,
        row.started_at,
        row.ended_at,
        row.has_recording,
    )
