"""Decides when a remote model counts as away, and when to try it again. Pure: it takes `now`, in seconds.

After some failures in a row the model is in trouble: no job of it is claimed, and requests wait. Trials with a few
seconds of speech show when it answers again. A server that says it is busy is not in trouble: all requests wait for as
long as it asks for.
"""

FAILURES_IN_A_ROW = 4
TRIAL_PAUSES_SECONDS = (1.0, 2.0, 5.0, 10.0, 20.0, 30.0)
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.5, 8.0
LONGEST_BUSY_SECONDS = 60.0


class Breaker:
    """What the answers of a server say about it."""

    def __init__(self) -> None:
        self._failures = 0  # in a row
        self._busy = 0  # in a row
        self._failed_trials = 0
        self._trouble: str | None = None
        self._free_at = 0.0

    @property
    def trouble(self) -> str | None:
        """Why the model cannot be used. None if it can, or if that is not known yet."""
        return self._trouble

    def wait(self, now: float) -> float:
        """For how many seconds no request should be sent, because the server is busy."""
        return max(0.0, self._free_at - now)

    def answered(self) -> None:
        self._failures = self._busy = self._failed_trials = 0
        self._trouble = None

    def failed(self, reason: str) -> float:
        """Records a failure that may pass. Returns after how many seconds to repeat the request."""
        self._failures += 1
        if self._failures >= FAILURES_IN_A_ROW:
            self._trouble = reason
        return min(FIRST_PAUSE_SECONDS * 2.0 ** min(self._failures - 1, 10), LONGEST_PAUSE_SECONDS)

    def is_busy(self, seconds: float | None, now: float) -> None:
        """Records that the server asked to wait. `seconds` is how long, if it said so."""
        self._busy += 1
        usual = min(2.0 ** min(self._busy - 1, 10), LONGEST_BUSY_SECONDS)
        self._free_at = max(self._free_at, now + min(seconds or usual, LONGEST_BUSY_SECONDS))

    def broke(self, reason: str) -> None:
        """Records why the model cannot be used until a trial succeeds."""
        self._trouble = reason

    def trial_failed(self) -> float:
        """Records a failed trial. Returns after how many seconds to try again."""
        pause = TRIAL_PAUSES_SECONDS[min(self._failed_trials, len(TRIAL_PAUSES_SECONDS) - 1)]
        self._failed_trials += 1
        return pause
