"""A value that takes a while to find out, and that many clients ask for.

It exists so that their number does not matter: the value is found out once for all that ask at the same time, and kept
for some seconds.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Kept(Generic[T]):
    """`find_out` is called at most once at a time, and not while the last value is younger than `seconds`."""

    def __init__(self, seconds: float, find_out: Callable[[], Awaitable[T]]) -> None:
        self._seconds = seconds
        self._find_out = find_out
        self._kept: tuple[T, float] | None = None
        self._finding_out: asyncio.Task[T] | None = None

    async def value(self) -> T:
        """Raises what `find_out` raises."""
        if self._kept is not None and time.monotonic() - self._kept[1] < self._seconds:
            return self._kept[0]
        if self._finding_out is None or self._finding_out.done():
            self._finding_out = asyncio.create_task(self._renew())
        return await asyncio.shield(self._finding_out)  # another client may wait for it too

    async def _renew(self) -> T:
        value = await self._find_out()
        self._kept = value, time.monotonic()
        return value
