"""Wakes tasks that wait for a topic, by NOTIFY.

A notification is only a hint that may be lost. The tables are the truth, so every waiting task also polls.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from uuid import uuid4

import asyncpg
import structlog
from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from app.database.connections import DATABASE_TROUBLE, Database

CHANNEL = "callscribe"
CHECK_SECONDS = 10.0
RECONNECT_SECONDS = 1.0

log = structlog.stdlib.get_logger("callscribe.signals")


async def notify(session: AsyncSession, topic: str) -> None:
    """Wake the waiters of `topic` in every process once this transaction commits."""
    await session.exec(text("SELECT pg_notify(:channel, :topic)").bindparams(channel=CHANNEL, topic=topic))  # type: ignore[call-overload]


class Signals:
    """Keeps one LISTEN connection for the process, and checks and renews it. Subscribers get an event to wait for."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._events: dict[str, set[asyncio.Event]] = defaultdict(set)
        self._connected = True

    @contextmanager
    def subscribe(self, topic: str) -> Iterator[asyncio.Event]:
        """An event that is set whenever `topic` is notified, until the block ends."""
        event = asyncio.Event()
        self._events[topic].add(event)
        try:
            yield event
        finally:
            self._events[topic].discard(event)
            if not self._events[topic]:
                del self._events[topic]

    def wake(self, topic: str | None = None) -> None:
        """Set the events of `topic`, or of every topic if notifications may have been missed."""
        for name in [topic] if topic is not None else list(self._events):
            for event in self._events.get(name, ()):
                event.set()

    async def run(self) -> None:
        """Listen until cancelled."""
        while True:
            try:
                await self._listen()
            except DATABASE_TROUBLE as error:
                if self._connected:  # log once for each outage, not every second
                    log.warning("listener lost its connection", error=type(error).__name__)
                self._connected = False
            await asyncio.sleep(RECONNECT_SECONDS)

    async def _listen(self) -> None:
        """Wake subscribers until the connection ends or delivers no notifications any more."""
        connection = await self._database.connect_raw()
        gone = asyncio.Event()
        connection.add_termination_listener(lambda _: gone.set())
        try:
            await connection.add_listener(CHANNEL, lambda *args: self.wake(args[3]))
            self._connected = True
            self.wake()
            while True:
                with suppress(TimeoutError):
                    await asyncio.wait_for(gone.wait(), CHECK_SECONDS)
                    raise asyncpg.ConnectionDoesNotExistError
                await self._require_echo(connection)
        finally:
            with suppress(Exception):
                await asyncio.wait_for(connection.close(), 1)
            connection.terminate()

    async def _require_echo(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        """Raises TimeoutError if a notification does not come back: a proxy may pass queries and drop these."""
        topic = f"echo:{uuid4()}"
        with self.subscribe(topic) as heard:
            await connection.execute("SELECT pg_notify($1, $2)", CHANNEL, topic, timeout=CHECK_SECONDS)
            await asyncio.wait_for(heard.wait(), CHECK_SECONDS)
