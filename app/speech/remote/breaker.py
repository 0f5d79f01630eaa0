"""Decides when a remote model counts as away, and when to send to it again. Pure: it takes times in seconds.

After some failures in a row the model is in trouble: no job of it is claimed, and requests wait. Trials with speech
that is known to be good show when it answers again. A server that says it is busy is not in trouble: all requests wait
for as long as it asks for.

Requests that were under way together meet the same trouble, so they count once.
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
        self._lost = LOST_IN_A_ROW  # in a row; no window may be lost before the server has written one
        self._wrote_at = -1.0
        self._trouble: str | None = None
        self._broke_at = self._held_until = -1.0

    @property
    def trouble(self) -> str | None:
        """Why the model cannot be used. None if it can, or if that is not known yet."""
        return self._trouble

    def wait(self, now: float) -> float:
        """For how many seconds no request should be sent, because the server is busy."""
        return max(0.0, self._free_at - now)

    def wrote(self, now: float) -> None:
        """Records that the server wrote the text of a window."""
        self._lost, self._wrote_at = 0, now

    def may_lose(self, began: float) -> bool:
        """Records that a window is to be left out, which was first sent at `began`.

        Returns False if the server has written no other window since, and several were left out already.
        """
        if self._wrote_at >= began:
            return True
        self._lost += 1
        return self._lost <= LOST_IN_A_ROW

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

    def broke(self, reason: str, now: float, hold: float = 0.0) -> None:
        """Records why the model cannot be used. No trial ends that within `hold` seconds."""
        if self._trouble is None:
            self._broke_at = now
        self._trouble = reason
        self._held_until = max(self._held_until, now + hold)

    def ends_trouble(self, sent: float, now: float, *, is_trial: bool) -> bool:
        """Whether an answer ends the trouble. One that was under way before shows nothing."""
        return sent >= self._broke_at and not self.wait(now) and not (is_trial and now < self._held_until)

    def answered(self) -> None:
        """Records that the server answered as it should: a trial, or a window."""
        self._failures = self._busy = self._failed_trials = 0
        self._trouble = None
        self._held_until = -1.0

    def trial_failed(self) -> float:
        """Records a failed trial. Returns after how many seconds to try again."""
        pause = TRIAL_PAUSES_SECONDS[min(self._failed_trials, len(TRIAL_PAUSES_SECONDS) - 1)]
        self._failed_trials += 1
        return pause
