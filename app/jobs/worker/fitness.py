"""Tries out a worker: it decodes a recording that is known to be good.

A trial shows whether the worker can claim again after trouble of its own. After an unknown error, it shows whether the
worker or the job was at fault. `condition` decides what follows from a trial.
"""

import time
from collections.abc import Awaitable, Callable

import structlog

from app.jobs.worker.condition import Condition

log = structlog.stdlib.get_logger("callscribe.jobs")


class Fitness:
    """`try_out` decodes a recording that is known to be good. It raises an error if this machine cannot."""

    def __init__(self, try_out: Callable[[], Awaitable[None]]) -> None:
        self._try_out = try_out
        self._condition = Condition()

    @property
    def trouble(self) -> str | None:
        """Why this worker claims no jobs, in words for its operator. None while it may claim."""
        return self._condition.trouble

    @property
    def on_probation(self) -> bool:
        return self._condition.on_probation

    async def may_claim(self) -> bool:
        """Whether the worker may claim. Runs a trial first, if one is due."""
        if self._condition.is_trial_due(time.monotonic()):
            await self.try_out()
        return not self._condition.needs_trial

    async def try_out(self) -> bool:
        """Run a trial. Returns whether the worker can work now."""
        before = self.trouble
        error = await self._error()
        if error is not None:
            self._condition.trial_failed(in_words(error), time.monotonic())
            if before is None:
                log.error("this worker cannot work, and claims no jobs until it can", reason=self.trouble)
            return False
        self._condition.trial_succeeded()
        if before is not None:
            log.info("this worker can work again, and claims jobs")
        return True

    async def _error(self) -> Exception | None:
        try:
            await self._try_out()
        except Exception as error:  # noqa: BLE001  the recording is good, so any error is the worker's
            return error
        return None

    def succeeded(self) -> None:
        self._condition.attempt_succeeded()

    def hindered(self, error: Exception) -> None:
        """Record that trouble of this worker's own ended an attempt."""
        log.warning("this worker had trouble of its own, so the job returns to the queue", error=in_words(error))
        self._condition.attempt_hindered(in_words(error), time.monotonic())


def in_words(error: Exception) -> str:
    """What went wrong, for the operator."""
    return str(error) or type(error).__name__
