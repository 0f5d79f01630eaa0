"""Fairness between jobs that wait for the same threads: by priority, then by tenant, by owner and by job.

It decides which source is read next. It has no threads and no locks of its own.
"""

from collections import Counter
from typing import Generic, TypeVar

from app.speech.batching.work import Job, OfJob

# A priority that has waited for this number of steps counts as one more urgent, so that no job starves.
STEPS_TO_RISE = 8

# A new job gets this number of steps before all other jobs, so that a short call is prepared immediately.
FIRST_STEPS = 4


WorkT = TypeVar("WorkT", bound=OfJob)


class FairQueue(Generic[WorkT]):
    """Chooses whose step of work is next. Among equally urgent jobs, the job that has waited longest goes first."""

    def __init__(self) -> None:
        self._waiting: list[WorkT] = []
        self._step = 0
        self._last_of_priority: dict[int, int] = {}
        self._last_of_tenant: dict[str, int] = {}
        self._last_of_owner: dict[str, int] = {}
        self._last_of_job: dict[Job, int] = {}
        self._steps_of_job: Counter[Job] = Counter()

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def put(self, waiting: WorkT) -> None:
        self._waiting.append(waiting)
        self._last_of_priority.setdefault(waiting.job.rank.priority, self._step)

    def drop_ended(self) -> None:
        """Drops all that belongs to jobs that have ended."""
        self._waiting = [waiting for waiting in self._waiting if not waiting.job.ended]
        self._last_of_job = {job: step for job, step in self._last_of_job.items() if not job.ended}
        self._steps_of_job = Counter({job: self._steps_of_job[job] for job in self._last_of_job})
        ranks = {waiting.job.rank for waiting in self._waiting} | {job.rank for job in self._last_of_job}
        tenants, owners = {rank.tenant for rank in ranks}, {rank.owner for rank in ranks}
        self._last_of_tenant = {tenant: step for tenant, step in self._last_of_tenant.items() if tenant in tenants}
        self._last_of_owner = {owner: step for owner, step in self._last_of_owner.items() if owner in owners}

    def most_urgent(self) -> int | None:
        """The priority of the most urgent job that waits, or None if no job waits."""
        return min((waiting.job.rank.priority for waiting in self._waiting), default=None)

    def take_new(self) -> WorkT | None:
        """Takes the work of a job that has not had its first steps. Returns None if there is no such job."""
        return self._take([waiting for waiting in self._waiting if self._steps_of_job[waiting.job] < FIRST_STEPS])

    def take(self) -> WorkT | None:
        return self._take(self._waiting)

    def _take(self, candidates: list[WorkT]) -> WorkT | None:
        if not candidates:
            return None
        taken = min(candidates, key=self._order)
        self._waiting.remove(taken)
        self._step += 1
        self._steps_of_job[taken.job] += 1
        rank = taken.job.rank
        self._last_of_tenant[rank.tenant] = self._last_of_owner[rank.owner] = self._step
        self._last_of_job[taken.job] = self._step
        self._last_of_priority = {
            waiting.job.rank.priority: self._last_of_priority[waiting.job.rank.priority] for waiting in self._waiting
        } | {rank.priority: self._step}
        return taken

    def _order(self, waiting: WorkT) -> tuple[int, int, int, int]:
        rank = waiting.job.rank
        risen = (self._step - self._last_of_priority[rank.priority]) // STEPS_TO_RISE
        return (
            rank.priority - risen,
            self._last_of_tenant.get(rank.tenant, 0),
            self._last_of_owner.get(rank.owner, 0),
            self._last_of_job.get(waiting.job, 0),
        )
