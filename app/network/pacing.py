"""Limits the share of the event loop's time that reading from the servers of clients' URLs may take.

A server decides how much work its answer is. An interim answer, a header or a chunk of one byte is as much work as a
whole block of a recording. So this module counts time and not bytes.
"""

import asyncio
import time
from collections.abc import Awaitable
from typing import TypeVar

SHARE = 0.25
QUANTUM_SECONDS = 0.002  # the usual answer to a webhook is less work than this, so that it never waits

T = TypeVar("T")


class Budget:
    """Spreads the work of all connections over time, so that it takes at most `share` of the event loop's time.

    `share` is a fraction of 1.
    """

    def __init__(self, share: float = SHARE) -> None:
        self._share = share
        self._free_at = 0.0

    async def pay(self, seconds: float) -> None:
        """Wait until `seconds` of work have taken no more than `share` of the time.

        Connections pay one after the other, so this first waits for those that called it before.
        """
        now = asyncio.get_running_loop().time()
        self._free_at = max(now, self._free_at) + seconds / self._share
        await asyncio.sleep(self._free_at - now)


class Meter:
    """Measures how much work one connection causes: the CPU time of the thread while the connection's task runs.

    The meter does not run at first. It must not run while the task waits, because the CPU time is that of other tasks
    then. So the task waits only inside `waiting`, or between `stop` and `start`.
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
        """Wait with a stopped meter, which runs afterwards. Returns or raises what `wait` does."""
        self.stop()
        try:
            return await wait
        finally:
            self.start()

    async def settle(self, price_seconds: float) -> None:
        """Pay for the work that was measured, and add `price_seconds` for work that the meter cannot see.

        Less than a quantum is paid for later, together with more. The meter runs afterwards.
        """
        self.stop()
        self._owed += price_seconds
        if self._owed >= QUANTUM_SECONDS:
            owed, self._owed = self._owed, 0.0
            await self._budget.pay(owed)
        self.start()
