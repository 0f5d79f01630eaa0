"""Repeats actions and writes, so that the service goes on by itself after the database was away.

Everything here takes an OSError or a TimeoutError for the database's (see DATABASE_TROUBLE). So the actions and writes
that are passed to it have to handle the errors of files and of the store themselves.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from math import inf
from typing import TypeVar

import structlog
from sqlmodel.ext.asyncio.session import AsyncSession

from app.database.connections import DATABASE_TROUBLE, Database, is_bad_data, is_unexpected

T = TypeVar("T")

log = structlog.stdlib.get_logger("callscribe.db")


class UninterruptedTime:
    """Measures for how long an event that is expected again and again has come without a gap.

    A worker measures with it for how long its heartbeats have reached the database.
    """

    def __init__(self) -> None:
        self._since = self._last = -inf

    def record(self, now: float, longest_gap: float) -> float:
        """Record that the event happened at `now`. Times are those of one clock, in seconds.

        Returns for how many seconds the event has happened without a gap longer than `longest_gap`. That is 0 on the
        first call and after a gap.
        """
        if now - self._last > longest_gap:
            self._since = now
        self._last = now
        return now - self._since


async def despite_database_trouble(action: Callable[[], Awaitable[None]]) -> None:
    """Run an action once. Trouble with the database is only logged, because the caller repeats the action soon."""
    try:
        await action()
    except DATABASE_TROUBLE as error:
        log.warning("database trouble", error=repr(error), exc_info=is_unexpected(error))


async def every(seconds: float, action: Callable[[], Awaitable[None]]) -> None:
    """Run an action every `seconds` until this is cancelled. Trouble with the database is logged and does not end it.

    An action that takes longer than `seconds` is repeated as soon as it has ended.
    """
    while True:
        started = time.monotonic()
        await despite_database_trouble(action)
        await asyncio.sleep(max(0.0, started + seconds - time.monotonic()))


async def write_down(
    database: Database, write: Callable[[AsyncSession], Awaitable[T]], pauses_seconds: Iterable[float]
) -> T:
    """Run `write` in a transaction, and repeat it after each of the pauses while the database is in trouble.

    The reply to a COMMIT may be lost, so `write` has to notice by itself that an earlier run of it was committed.
    Returns what `write` returns. Raises one of DATABASE_TROUBLE, immediately if the data is at fault, and otherwise
    after the last pause.
    """
    for seconds in pauses_seconds:
        try:
            async with database.transaction() as session:
                return await write(session)
        except DATABASE_TROUBLE as error:
            if is_bad_data(error):
                raise
            log.warning("not written yet", error=type(error).__name__)
        await asyncio.sleep(seconds)
    async with database.transaction() as session:
        return await write(session)
