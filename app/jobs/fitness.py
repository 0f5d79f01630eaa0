"""A worker's trials of itself: before it claims again after trouble of its own, and where it must know whose fault
something was. What follows from them is `condition`'s to say.
"""

import time
from collections.abc import Awaitable, Callable

import structlog

from app.jobs.condition import Condition

log = structlog.stdlib.get_logger("callscribe.jobs")


class Fitness:
    """`try_out` does what a job needs of this machine, on a recording known to be good; it raises where it cannot."""

    def __init__(self, try_out: Callable[[], Awaitable[None]]) -> None:
        self._try_out = try_out
        self._condition = Condition()

    @property
    def trouble(self) -> str | None:
        """What keeps this worker from claiming jobs, for its operator; None while it may claim."""
        return self._condition.trouble

    @property
    def on_probation(self) -> bool:
        return self._condition.on_probation

    async def may_claim(self) -> bool:
        """Whether the worker had no trouble since it last showed that it can work; it is tried out if that is due."""
        if self._condition.is_trial_due(time.monotonic()):
            await self.try_out()
        return not self._condition.needs_trial

    async def try_out(self) -> bool:
        """Whether the worker can work now. The condition takes note."""
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
        except Exception as error:  # noqa: BLE001  a good recording was not decoded: whatever it is, it is ours
            return error
        return None

    def succeeded(self) -> None:
        self._condition.attempt_succeeded()

    def hindered(self, error: Exception) -> None:
        """An attempt ended because of trouble of the worker's own."""
        log.warning("this worker had trouble of its own; the job goes back", error=in_words(error))
        self._condition.attempt_hindered(in_words(error), time.monotonic())


def in_words(error: Exception) -> str:
    """What went wrong, for the operator."""
    return str(error) or type(error).__name__
