"""Repeats actions and writes that must go on after the database was away."""

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


class Unbroken:
    """Measures for how long an event has happened again and again, without a gap."""

    def __init__(self) -> None:
        self._since = self._last = -inf

    def seconds(self, now: float, longest_gap: float) -> float:
        """Record that the event happened at `now`.

        Returns for how many seconds it has happened without a gap longer than `longest_gap`; 0 on the first call and
        after a gap.
        """
        if now - self._last > longest_gap:
            self._since = now
        self._last = now
        return now - self._since


async def despite_database_trouble(action: Callable[[], Awaitable[None]]) -> None:
    """Run an action once. Trouble with the database is logged, because the caller tries again soon."""
    try:
        await action()
    except DATABASE_TROUBLE as error:
        log.warning("database or store trouble", error=repr(error), exc_info=is_unexpected(error))


async def every(seconds: float, action: Callable[[], Awaitable[None]]) -> None:
    """Repeat an action every `seconds`, until cancelled."""
    while True:
        started = time.monotonic()
        await despite_database_trouble(action)
        await asyncio.sleep(max(0.0, started + seconds - time.monotonic()))


async def write_down(
    database: Database, write: Callable[[AsyncSession], Awaitable[T]], pauses_seconds: Iterable[float]
) -> T:
    """Run `write` in a transaction, and again after each of the pauses while the database is away.

    The reply to a COMMIT may be lost, so `write` must find out by itself whether it was committed before. Raises one of
    DATABASE_TROUBLE: immediately if the data is at fault, and otherwise after the last attempt.
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
