"""Fairness between jobs that wait for the same threads: by priority, then by owner, then by job.

It decides which source is read next. It has no threads and no locks of its own.
"""

from collections import Counter
from collections.abc import Hashable
from typing import Generic, Protocol, TypeVar

from app.process.places import Rank

# A priority that has waited for so many steps counts as one more urgent, so that no job starves.
STEPS_TO_RISE = 8

# A new job gets so many steps before other jobs get theirs, so that a short call is prepared immediately.
FIRST_STEPS = 4


class Sharing(Hashable, Protocol):
    @property
    def rank(self) -> Rank: ...

    @property
    def ended(self) -> bool: ...


class Waiting(Protocol):
    @property
    def job(self) -> Sharing: ...


WaitingT = TypeVar("WaitingT", bound=Waiting)


class FairQueue(Generic[WaitingT]):
    """Gives one step at a time. Among equally urgent jobs, the job goes first whose last step is longest ago."""

    def __init__(self) -> None:
        self._waiting: list[WaitingT] = []
        self._step = 0
        self._last_of_priority: dict[int, int] = {}
        self._last_of_owner: dict[str, int] = {}
        self._last_of_job: dict[Sharing, int] = {}
        self._steps_of_job: Counter[Sharing] = Counter()

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def put(self, waiting: WaitingT) -> None:
        self._waiting.append(waiting)
        self._last_of_priority.setdefault(waiting.job.rank.priority, self._step)

    def drop_ended(self) -> None:
        """Drops what waits for jobs that have ended."""
        self._waiting = [waiting for waiting in self._waiting if not waiting.job.ended]
        self._last_of_job = {job: step for job, step in self._last_of_job.items() if not job.ended}
        self._steps_of_job = Counter({job: self._steps_of_job[job] for job in self._last_of_job})
        owners = {waiting.job.rank.owner for waiting in self._waiting} | {job.rank.owner for job in self._last_of_job}
        self._last_of_owner = {owner: step for owner, step in self._last_of_owner.items() if owner in owners}

    def most_urgent(self) -> int | None:
        """The priority of the most urgent job that waits; None if none waits."""
        return min((waiting.job.rank.priority for waiting in self._waiting), default=None)

    def take_new(self) -> WaitingT | None:
        """Takes one of a job that has not had its first steps."""
        return self._take([waiting for waiting in self._waiting if self._steps_of_job[waiting.job] < FIRST_STEPS])

    def take(self) -> WaitingT | None:
        return self._take(self._waiting)

    def _take(self, candidates: list[WaitingT]) -> WaitingT | None:
        if not candidates:
            return None
        taken = min(candidates, key=self._order)
        self._waiting.remove(taken)
        self._step += 1
        self._steps_of_job[taken.job] += 1
        rank = taken.job.rank
        self._last_of_owner[rank.owner] = self._last_of_job[taken.job] = self._step
        self._last_of_priority = {
            waiting.job.rank.priority: self._last_of_priority[waiting.job.rank.priority] for waiting in self._waiting
        } | {rank.priority: self._step}
        return taken

    def _order(self, waiting: WaitingT) -> tuple[int, int, int]:
        rank = waiting.job.rank
        risen = (self._step - self._last_of_priority[rank.priority]) // STEPS_TO_RISE
        return (
            rank.priority - risen,
            self._last_of_owner.get(rank.owner, 0),
            self._last_of_job.get(waiting.job, 0),
        )
