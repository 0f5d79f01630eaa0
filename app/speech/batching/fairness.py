"""Whose turn it is: by priority, then by owner, then by job; no threads in here."""

from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

MOST_URGENT, LEAST_URGENT = 0, 9

# Turns that a priority lets go by before it counts as the next better one: so nothing starves.
TURNS_TO_RISE = 8

# A job's first turns, which it has before others have theirs: a short call is prepared at once.
FIRST_TURNS = 4


@dataclass(frozen=True, slots=True)
class Share:
    """What a job may have of the engine: `priority` from 0, which goes first, to 9; owners share equally."""

    priority: int = 5
    owner: str = ""


class Sharing(Hashable, Protocol):
    @property
    def share(self) -> Share: ...

    @property
    def ended(self) -> bool: ...


class Waiting(Protocol):
    @property
    def job(self) -> Sharing: ...


WaitingT = TypeVar("WaitingT", bound=Waiting)


class Turns(Generic[WaitingT]):
    """Those who wait. Among jobs that may go first, the one goes that had its last turn longest ago."""

    def __init__(self) -> None:
        self._waiting: list[WaitingT] = []
        self._turn = 0
        self._last_of_priority: dict[int, int] = {}
        self._last_of_owner: dict[str, int] = {}
        self._last_of_job: dict[Sharing, int] = {}
        self._turns_of_job: Counter[Sharing] = Counter()

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def put(self, waiting: WaitingT) -> None:
        self._waiting.append(waiting)
        self._last_of_priority.setdefault(waiting.job.share.priority, self._turn)

    def drop_ended(self) -> None:
        """Forgets those of jobs that nobody waits for."""
        self._waiting = [waiting for waiting in self._waiting if not waiting.job.ended]
        self._last_of_job = {job: turn for job, turn in self._last_of_job.items() if not job.ended}
        self._turns_of_job = Counter({job: self._turns_of_job[job] for job in self._last_of_job})
        owners = {waiting.job.share.owner for waiting in self._waiting} | {job.share.owner for job in self._last_of_job}
        self._last_of_owner = {owner: turn for owner, turn in self._last_of_owner.items() if owner in owners}

    def most_urgent(self) -> int | None:
        """The priority of the most urgent job that waits; None where there is none."""
        return min((waiting.job.share.priority for waiting in self._waiting), default=None)

    def take_new(self) -> WaitingT | None:
        """One of a job that has not had its first turns."""
        return self._take([waiting for waiting in self._waiting if self._turns_of_job[waiting.job] < FIRST_TURNS])

    def take(self) -> WaitingT | None:
        return self._take(self._waiting)

    def _take(self, candidates: list[WaitingT]) -> WaitingT | None:
        if not candidates:
            return None
        taken = min(candidates, key=self._rank)
        self._waiting.remove(taken)
        self._turn += 1
        self._turns_of_job[taken.job] += 1
        share = taken.job.share
        self._last_of_owner[share.owner] = self._last_of_job[taken.job] = self._turn
        self._last_of_priority = {
            waiting.job.share.priority: self._last_of_priority[waiting.job.share.priority] for waiting in self._waiting
        } | {share.priority: self._turn}
        return taken

    def _rank(self, waiting: WaitingT) -> tuple[int, int, int]:
        share = waiting.job.share
        risen = (self._turn - self._last_of_priority[share.priority]) // TURNS_TO_RISE
        return (
            share.priority - risen,
            self._last_of_owner.get(share.owner, 0),
            self._last_of_job.get(waiting.job, 0),
        )
