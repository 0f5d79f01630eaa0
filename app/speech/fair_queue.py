"""What waits to be decoded: batches of one kind, filled in turn from all jobs; no threads in here."""

from collections import deque
from collections.abc import Hashable
from math import ceil
from typing import Generic, Protocol, TypeVar


class Job(Protocol):
    """What an item belongs to."""

    @property
    def ended(self) -> bool:
        """Whether nobody waits for the job any more: its items are dropped."""


class Item(Protocol):
    """What is queued. Items of one `kind` may share a batch."""

    @property
    def kind(self) -> Hashable: ...

    @property
    def job(self) -> Job: ...


ItemT = TypeVar("ItemT", bound=Item)

# Batches that may overtake an item whose kind never fills one.
PATIENCE = 2


class FairQueue(Generic[ItemT]):
    """Lanes of items that may share a batch; in each lane the jobs take turns, one item at a time."""

    def __init__(self, batch_size: int) -> None:
        self._batch_size = batch_size
        self._lanes: dict[Hashable, _Lane[ItemT]] = {}
        self._batches = 0

    def put(self, item: ItemT) -> None:
        self._lanes.setdefault(item.kind, _Lane(self._batches)).put(item)

    def drop_ended(self) -> None:
        """Forgets the items of jobs that nobody waits for."""
        for lane in self._lanes.values():
            lane.drop_ended()
        self._forget_empty()

    def take_full(self) -> list[ItemT]:
        """A full batch, or one that has been overtaken too often; else nothing."""
        for lane in self._longest_waiting_first():
            if len(lane) >= self._batch_size or self._batches - lane.waits_since >= PATIENCE:
                return self._take(lane, self._batch_size)
        return []

    def take_share(self, takers: int) -> list[ItemT]:
        """What there is of the kind that waits longest, fairly split among those who could take it."""
        for lane in self._longest_waiting_first():
            return self._take(lane, min(self._batch_size, ceil(len(lane) / takers)))
        return []

    def _longest_waiting_first(self) -> "list[_Lane[ItemT]]":
        return sorted(self._lanes.values(), key=lambda lane: lane.waits_since)

    def _take(self, lane: "_Lane[ItemT]", count: int) -> list[ItemT]:
        self._batches += 1
        lane.waits_since = self._batches
        batch = [lane.take() for _ in range(min(count, len(lane)))]
        self._forget_empty()
        return batch

    def _forget_empty(self) -> None:
        self._lanes = {kind: lane for kind, lane in self._lanes.items() if len(lane)}


class _Lane(Generic[ItemT]):
    """Items of one kind by job, in the order of their turns.

    `waits_since` is the number of batches that had begun when the lane got its first item, or was last served.
    """

    def __init__(self, batches: int) -> None:
        self.waits_since = batches
        self._jobs: dict[Job, deque[ItemT]] = {}

    def __len__(self) -> int:
        return sum(len(items) for items in self._jobs.values())

    def put(self, item: ItemT) -> None:
        self._jobs.setdefault(item.job, deque()).append(item)

    def take(self) -> ItemT:
        job = next(iter(self._jobs))
        items = self._jobs.pop(job)
        item = items.popleft()
        if items:
            self._jobs[job] = items
        return item

    def drop_ended(self) -> None:
        self._jobs = {job: items for job, items in self._jobs.items() if not job.ended}
