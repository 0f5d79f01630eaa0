"""The LISTEN connection is replaced when it ends or falls silent."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from app.database import notifications
from app.database.connections import Database
from app.database.notifications import Signals, notify

LIMIT_SECONDS = 20


@asynccontextmanager
async def listening(heard: Signals) -> AsyncIterator[None]:
    task = asyncio.create_task(heard.run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


class Deaf:
    """A connection that answers queries but gets no notifications."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    async def add_listener(self, *_: object) -> None:
        pass


async def send(database: Database, topic: str) -> None:
    async with database.transaction() as session:
        await notify(session, topic)


async def until_heard(database: Database, heard: Signals) -> None:
    """Send notifications until one arrives."""
    async with asyncio.timeout(LIMIT_SECONDS):
        with heard.subscribe("topic") as event:
            while not event.is_set():
                await send(database, "topic")
                with suppress(TimeoutError):
                    await asyncio.wait_for(event.wait(), 0.1)


async def test_a_terminated_listener_reconnects_immediately(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notifications, "RECONNECT_SECONDS", 0.01)
    monkeypatch.setattr(notifications, "CHECK_SECONDS", 3600.0)
    heard = Signals(database)
    async with listening(heard):
        await until_heard(database, heard)
        async with database.engine.connect() as connection:
            ended = await connection.exec_driver_sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND query LIKE 'LISTEN%'"
            )
            assert ended.all() == [(True,)]
        await until_heard(database, heard)


async def test_a_listener_that_gets_no_notifications_is_replaced(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notifications, "RECONNECT_SECONDS", 0.01)
    monkeypatch.setattr(notifications, "CHECK_SECONDS", 0.5)
    connect, first, replaced = Database.connect_raw, iter([Deaf]), asyncio.Event()

    async def connect_to_a_deaf_one_first(self: Database) -> Any:
        connection = await connect(self)
        for deafen in first:
            return deafen(connection)
        replaced.set()
        return connection

    monkeypatch.setattr(Database, "connect_raw", connect_to_a_deaf_one_first)
    heard = Signals(database)
    async with listening(heard):
        await asyncio.wait_for(replaced.wait(), LIMIT_SECONDS)
        await until_heard(database, heard)
