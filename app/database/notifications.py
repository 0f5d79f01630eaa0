"""Wakes tasks that wait for a topic, in every process, by PostgreSQL's LISTEN and NOTIFY.

A notification is only a hint and may be lost. What is true is in the tables, so every waiting task also polls them.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from uuid import uuid4

import asyncpg
import structlog
from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from app.database.connections import DATABASE_TROUBLE, Database
from app.database.retries import despite_database_trouble
from app.process.tasks import within

CHANNEL = "callscribe"
CHECK_SECONDS = 10.0
RECONNECT_SECONDS = 1.0

log = structlog.stdlib.get_logger("callscribe.signals")


async def notify(session: AsyncSession, topic: str) -> None:
    """Wake the tasks that wait for `topic`, in every process, when the transaction of this session commits."""
    await session.exec(text("SELECT pg_notify(:channel, :topic)").bindparams(channel=CHANNEL, topic=topic))  # type: ignore[call-overload]


class Signals:
    """The notifications that reach this process. Subscribers get an event to wait for.

    `run` keeps one LISTEN connection for all of them. It checks the connection, and opens a new one if that is broken.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._events: dict[str, set[asyncio.Event]] = defaultdict(set)
        self._connected = True

    @contextmanager
    def subscribe(self, topic: str) -> Iterator[asyncio.Event]:
        """Gives an event that is set when `topic` is notified, until the end of the block. The subscriber clears it."""
        event = asyncio.Event()
        self._events[topic].add(event)
        try:
            yield event
        finally:
            self._events[topic].discard(event)
            if not self._events[topic]:
                del self._events[topic]

    def wake(self, topic: str | None = None) -> None:
        """Set the events of `topic` in this process. Without a topic, set all events."""
        for name in [topic] if topic is not None else list(self._events):
            for event in self._events.get(name, ()):
                event.set()

    async def follow(
        self, topic: str, action: Callable[[], Awaitable[None]], longest_pause: Callable[[], float]
    ) -> None:
        """Run an action now, whenever `topic` is notified, and after `longest_pause` seconds, until cancelled.

        Trouble with the database is logged and does not end it.
        """
        with self.subscribe(topic) as notified:
            while True:
                notified.clear()
                await despite_database_trouble(action)
                with suppress(TimeoutError):
                    await within(longest_pause(), notified.wait())

    async def run(self) -> None:
        """Listen until cancelled. Each new connection wakes all subscribers, because they may have missed something."""
        while True:
            try:
                await self._listen()
            except DATABASE_TROUBLE as error:
                if self._connected:  # log once for each outage, not every second
                    log.warning("listener lost its connection", error=type(error).__name__)
                self._connected = False
            await asyncio.sleep(RECONNECT_SECONDS)

    async def _listen(self) -> None:
        """Wake subscribers until the connection ends or brings no more notifications. Then raises DATABASE_TROUBLE."""
        connection = await self._database.connect_raw()
        gone = asyncio.Event()
        connection.add_termination_listener(lambda _: gone.set())
        try:
            await connection.add_listener(CHANNEL, lambda *args: self.wake(args[3]))
            self._connected = True
            self.wake()
            while True:
                with suppress(TimeoutError):
                    await within(CHECK_SECONDS, gone.wait())
                    raise asyncpg.ConnectionDoesNotExistError
                await self._require_echo(connection)
        finally:
            with suppress(Exception):
                await within(1, connection.close())
            connection.terminate()

    async def _require_echo(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        """Raises TimeoutError if a notification that this sends does not come back.

        A query would not show that, because a proxy may pass queries on and drop notifications.
        """
        topic = f"echo:{uuid4()}"
        with self.subscribe(topic) as heard:
            await connection.execute("SELECT pg_notify($1, $2)", CHANNEL, topic, timeout=CHECK_SECONDS)
            await within(CHECK_SECONDS, heard.wait())
