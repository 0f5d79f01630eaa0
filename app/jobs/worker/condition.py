"""Decides whether a worker is fit to claim jobs. Pure: it takes `now`.

A worker that cannot work fails jobs faster than others finish them, so it would empty the queue. After trouble of its
own, a worker must pass a trial before it claims again. While its trials fail, it claims nothing and is not ready. If
the worker has trouble several times in a row, it is on probation: it claims one job at a time until one succeeds, even
if its trials succeed.
"""

HINDRANCES_IN_A_ROW = 3
TRIAL_PAUSES_SECONDS = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0)


class Condition:
    """What a worker's attempts and trials say about the worker."""

    def __init__(self) -> None:
        self._hindrances = 0  # in a row; a trial that fails counts as one
        self._failed_trials = 0
        self._needs_trial = False
        self._trial_at = 0.0
        self._trouble = ""

    @property
    def trouble(self) -> str | None:
        """Why the worker cannot work. None if its last trial succeeded, or if it needs no trial."""
        return self._trouble if self._failed_trials else None

    @property
    def needs_trial(self) -> bool:
        return self._needs_trial

    @property
    def on_probation(self) -> bool:
        """Whether the worker may claim only one job at a time, until one succeeds."""
        return self._hindrances >= HINDRANCES_IN_A_ROW

    def is_trial_due(self, now: float) -> bool:
        return self._needs_trial and now >= self._trial_at

    def attempt_succeeded(self) -> None:
        if not self._needs_trial:
            self._hindrances = 0

    def attempt_hindered(self, trouble: str, now: float) -> None:
        """Record that the worker's own trouble ended an attempt."""
        self._hindrances += 1
        if not self._needs_trial:
            self._trial_at = now + TRIAL_PAUSES_SECONDS[0]
        self._needs_trial, self._trouble = True, trouble

    def trial_succeeded(self) -> None:
        self._needs_trial, self._failed_trials = False, 0

    def trial_failed(self, trouble: str, now: float) -> None:
        """Record a failed trial. The pause before the next trial grows each time."""
        self._needs_trial, self._trouble = True, trouble
        self._hindrances = max(self._hindrances, HINDRANCES_IN_A_ROW)
        self._failed_trials += 1
        pause = TRIAL_PAUSES_SECONDS[min(self._failed_trials, len(TRIAL_PAUSES_SECONDS) - 1)]
        self._trial_at = now + pause
