"""What is prepared and waits to be decoded, in lanes of what may share a batch; no threads in here."""

from collections.abc import Callable, Hashable
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

# Batches without trouble after which they may grow again: what took the memory may have been somebody else.
RECOVERY = 100

# Steps of other work that may overtake a lane that does not fill a batch.
PATIENCE = 24


class Lanes(Generic[ItemT]):
    """Batches of at most `batch_size`, of the lane that waits longest, oldest items first."""

    def __init__(self, batch_size: int) -> None:
        self._batch_size = self._full_size = batch_size
        self._since_trouble = 0
        self._lanes: dict[Hashable, list[ItemT]] = {}
        self._waits_since: dict[Hashable, int] = {}
        self._steps = 0

    def put(self, item: ItemT) -> None:
        kind = item.kind
        self._lanes.setdefault(kind, []).append(item)
        self._waits_since.setdefault(kind, self._steps)

    def shrink(self) -> None:
        """Makes batches half as large, until many have gone well."""
        self._batch_size = max(1, self._batch_size // 2)
        self._since_trouble = 0

    def overtake(self) -> None:
        """Tells of other work that is done before what is queued."""
        self._steps += 1

    def drop_ended(self) -> None:
        """Forgets the items of jobs that nobody waits for."""
        for kind, lane in self._lanes.items():
            self._lanes[kind] = [item for item in lane if not item.job.ended]
        self._forget_empty()

    def take_full(self) -> list[ItemT]:
        """A full batch, or one that has been overtaken too often; else nothing."""
        for kind in self._longest_waiting_first():
            if len(self._lanes[kind]) >= self._batch_size or self._steps - self._waits_since[kind] >= PATIENCE:
                return self._take(kind, self._batch_size)
        return []

    def take_last(self, is_last: Callable[[ItemT], bool]) -> list[ItemT]:
        """A batch with the last items of some job, and others to fill half of it; nothing if there are none."""
        for kind in self._longest_waiting_first():
            self._lanes[kind].sort(key=lambda item: not is_last(item))
            if last := sum(map(is_last, self._lanes[kind])):
                return self._take(kind, max(last, self._batch_size // 2))
        return []

    def take_share(self, takers: int) -> list[ItemT]:
        """What there is of the kind that waits longest, fairly split among those who could take it."""
        for kind in self._longest_waiting_first():
            return self._take(kind, ceil(len(self._lanes[kind]) / takers))
        return []

    def _longest_waiting_first(self) -> list[Hashable]:
        return sorted(self._lanes, key=self._waits_since.__getitem__)

    def _take(self, kind: Hashable, count: int) -> list[ItemT]:
        self._steps += 1
        self._waits_since[kind] = self._steps
        self._since_trouble += 1
        if self._since_trouble % RECOVERY == 0:
            self._batch_size = min(2 * self._batch_size, self._full_size)
        count = min(count, self._batch_size)
        batch, self._lanes[kind] = self._lanes[kind][:count], self._lanes[kind][count:]
        self._forget_empty()
        return batch

    def _forget_empty(self) -> None:
        self._lanes = {kind: lane for kind, lane in self._lanes.items() if lane}
        self._waits_since = {kind: since for kind, since in self._waits_since.items() if kind in self._lanes}
