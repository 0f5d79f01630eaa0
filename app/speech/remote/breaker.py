"""Decides when a remote model counts as away, and when to send to it again. Pure: it takes times in seconds.

After some failures in a row the model is in trouble: no job of it is claimed, and requests wait. Trials with speech
that is known to be good show when it answers again. A server that says it is busy is not in trouble: all requests wait
for as long as it asks for.

Requests that were on their way together meet the same trouble, so they count once.
"""

FAILURES_IN_A_ROW = 4
LOST_IN_A_ROW = 3
TRIAL_PAUSES_SECONDS = (1.0, 2.0, 5.0, 10.0, 20.0, 30.0)
LONGEST_USUAL_PAUSE_SECONDS = 60.0
LONGEST_PAUSE_SECONDS = 600.0  # that a server may ask for


class Breaker:
    """What the answers of a server say about it."""

    def __init__(self) -> None:
        self._failures = 0  # in a row
        self._failed_at = -1.0
        self._busy = 0  # in a row
        self._busy_at = -1.0
        self._free_at = 0.0
        self._failed_trials = 0
        self._lost = LOST_IN_A_ROW  # in a row; no window may be lost before the first one was answered
        self._trouble: str | None = None

    @property
    def trouble(self) -> str | None:
        """Why the model cannot be used. None if it can, or if that is not known yet."""
        return self._trouble

    def wait(self, now: float) -> float:
        """For how many seconds no request should be sent, because the server is busy."""
        return max(0.0, self._free_at - now)

    def took_window(self) -> None:
        """Records that the server wrote the text of a window."""
        self.answered()
        self._lost = 0

    def answered(self) -> None:
        """Records that the server answered as it should: a trial, or a window without a text."""
        self._failures = self._busy = self._failed_trials = 0
        self._trouble = None

    def failed(self, sent: float, now: float) -> bool:
        """Records a failure that may pass, of a request that began at `sent`. Returns whether it is one too many."""
        if sent >= self._failed_at:
            self._failures += 1
            self._failed_at = now
        return self._failures >= FAILURES_IN_A_ROW

    def is_busy(self, seconds: float | None, sent: float, now: float) -> None:
        """Records that the server asked to wait. `seconds` is how long, if it said so."""
        if sent >= self._busy_at:
            self._busy += 1
            self._busy_at = now
        usual = min(2.0 ** min(self._busy - 1, 10), LONGEST_USUAL_PAUSE_SECONDS)
        begins = now if seconds else self._busy_at
        self._free_at = max(self._free_at, begins + min(seconds or usual, LONGEST_PAUSE_SECONDS))

    def may_lose(self) -> bool:
        """Records that a window is to be left out. Returns False if the server has taken none for too long."""
        self._lost += 1
        return self._lost <= LOST_IN_A_ROW

    def broke(self, reason: str) -> None:
        """Records why the model cannot be used until a trial succeeds."""
        self._trouble = reason

    def trial_failed(self) -> float:
        """Records a failed trial. Returns after how many seconds to try again."""
        pause = TRIAL_PAUSES_SECONDS[min(self._failed_trials, len(TRIAL_PAUSES_SECONDS) - 1)]
        self._failed_trials += 1
        return pause
