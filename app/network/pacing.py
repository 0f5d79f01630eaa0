"""How much of the event loop's time the servers that clients name may take: all of them together, and each its share.

A server decides what its answer costs to read: an interim answer, a header or a chunk of one byte costs as much as a
whole block of a recording. So the time is counted, not the bytes. This module knows nothing of sockets or of HTTP.
"""

import asyncio
import time
from collections.abc import Awaitable
from typing import TypeVar

SHARE = 0.25
QUANTUM_SECONDS = 0.002  # a usual answer to a webhook costs less, and never waits

T = TypeVar("T")


class Budget:
    """The share of the loop's time that all connections pay from, one quantum after the other."""

    def __init__(self, share: float = SHARE) -> None:
        self._share = share
        self._free_at = 0.0

    async def pay(self, seconds: float) -> None:
        """Wait until the work that was done is paid for, after what others did before."""
        now = asyncio.get_running_loop().time()
        self._free_at = max(now, self._free_at) + seconds / self._share
        await asyncio.sleep(self._free_at - now)


class Meter:
    """The work that one connection causes: the thread's time between two waits, and what the waits cost by themselves.

    It begins with a wait. Every wait of the connection's task goes through `waiting`, or between `stop` and `start`.
    """

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._owed = 0.0
        self._started_at: float | None = None

    def start(self) -> None:
        self._started_at = time.thread_time()

    def stop(self) -> None:
        if self._started_at is not None:
            self._owed += time.thread_time() - self._started_at
            self._started_at = None

    async def waiting(self, wait: Awaitable[T]) -> T:
        self.stop()
        try:
            return await wait
        finally:
            self.start()

    async def settle(self, price_seconds: float) -> None:
        """Add the price of something that is not seen here, and pay once a quantum is owed."""
        self.stop()
        self._owed += price_seconds
        if self._owed >= QUANTUM_SECONDS:
            owed, self._owed = self._owed, 0.0
            await self._budget.pay(owed)
        self.start()
