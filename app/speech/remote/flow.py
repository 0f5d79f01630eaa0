"""Limits how many requests are under way to a server that is too slow for all of them."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


class Flow:
    """At most `most` requests at the same time: half as many after a timeout, and one more after some answers.

    Use it on one event loop.
    """

    def __init__(self, most: int) -> None:
        self._most = self.limit = most
        self._reduced_at = -1.0
        self._answers = 0  # since the limit has changed
        self._under_way = 0
        self._free = asyncio.Event()

    @property
    def has_place(self) -> bool:
        return self._under_way < self.limit

    async def freed(self) -> None:
        """Waits until a place is free, or may be."""
        self._free.clear()
        await self._free.wait()

    @contextmanager
    def place(self) -> Iterator[None]:
        """Holds the place of one request. Look at `has_place` directly before."""
        self._under_way += 1
        try:
            yield
        finally:
            self._under_way -= 1
            self._free.set()

    def timed_out(self, sent: float, now: float) -> None:
        """Records a timeout. Requests that were under way together count once."""
        if sent >= self._reduced_at:
            self.limit = max(1, self.limit // 2)
            self._reduced_at, self._answers = now, 0

    def answered(self) -> None:
        self._answers += 1
        if self._answers >= self.limit and self.limit < self._most:
            self.limit += 1
            self._answers = 0
            self._free.set()
