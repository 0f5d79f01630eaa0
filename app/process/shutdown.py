"""How this process ends: what a signal does, and which parts may end their work first."""

import asyncio
import os
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol

from app.process.tasks import within

GIVE_BACK_SECONDS = 5.0  # what was stopped has to be written within this time, or its lease ends by itself


class Drainable(Protocol):
    """A part whose work should end in order, such as a worker."""

    async def drain(self, grace_seconds: float) -> None:
        """Begin no new work, let running work go on for this time, and then stop it."""

    async def idle(self) -> None:
        """Wait until no work is running, and what was stopped has been given back."""


class Shutdown:
    """When this process ends and how. `requested` is set by a signal, or by a part that failed.

    `parts` are drained one after the other, each with its own grace period in seconds.
    """

    def __init__(self, parts: Sequence[tuple[Drainable, float]]) -> None:
        self._parts = parts
        self._draining = False
        self.requested = asyncio.Event()
        self.failed = False

    @property
    def grace_seconds(self) -> float:
        """How long running work may still take."""
        return max((seconds for _, seconds in self._parts), default=0.0)

    def request(self) -> None:
        """The first request stops the process in order. The second one ends it immediately."""
        if self.requested.is_set():
            os._exit(1)
        self.requested.set()

    async def drain(self) -> None:
        """Let the work of each part end for its grace period. Then wait up to GIVE_BACK_SECONDS until it is given back.

        If the database is away, work is given back when its leases end. Only the first call does anything.
        """
        if self._draining:
            return
        self._draining = True
        for part, seconds in self._parts:
            await part.drain(seconds)
            with suppress(TimeoutError):
                await within(GIVE_BACK_SECONDS, part.idle())


def on_signals(stop: Callable[[], object]) -> None:
    """Call `stop` at SIGTERM and SIGINT, and at SIGHUP, which a terminal sends when it closes.

    Under `nohup`, SIGHUP is ignored, and stays so.
    """
    hangup = [] if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else [signal.SIGHUP]
    for number in (signal.SIGTERM, signal.SIGINT, *hangup):
        asyncio.get_running_loop().add_signal_handler(number, stop)
