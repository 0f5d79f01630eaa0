"""What is prepared and waits to be decoded, in lanes of what may share a batch; no threads in here."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from math import ceil
from typing import Generic, Protocol, TypeVar

from app.speech.batching.fairness import Share


class Job(Protocol):
    """What an item belongs to."""

    @property
    def share(self) -> Share: ...

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

# Steps of other work that may overtake a lane that does not fill a batch. An item that waits for so many counts as
# one priority more urgent, so that no item starves.
PATIENCE = 24


@dataclass(frozen=True)
class _Queued(Generic[ItemT]):
    item: ItemT
    since: int


class Lanes(Generic[ItemT]):
    """Batches of at most `batch_size`: the most urgent items first, of equal ones the oldest."""

    def __init__(self, batch_size: int) -> None:
        self._batch_size = self._full_size = batch_size
        self._since_trouble = 0
        self._lanes: dict[Hashable, list[_Queued[ItemT]]] = {}
        self._waits_since: dict[Hashable, int] = {}
        self._steps = 0

    def put(self, item: ItemT) -> None:
        kind = item.kind
        self._lanes.setdefault(kind, []).append(_Queued(item, self._steps))
        self._waits_since.setdefault(kind, self._steps)

    def most_urgent(self) -> int | None:
        """The priority of the most urgent item, which rises while it waits; None where there is none."""
        return min((self._rank(each) for lane in self._lanes.values() for each in lane), default=None)

    @property
    def overdue(self) -> bool:
        """Whether what is queued has been overtaken so often that it goes first."""
        return any(map(self._is_overdue, self._lanes))

    def shrink(self) -> None:
        """Makes batches half as large, until many have gone well."""
        self._batch_size = max(1, self._batch_size // 2)
        self._since_trouble = 0

    def overtake(self) -> None:
        """Records other work that is done before what is queued."""
        self._steps += 1

    def drop_ended(self) -> None:
        """Forgets the items of jobs that nobody waits for."""
        for kind, lane in self._lanes.items():
            self._lanes[kind] = [each for each in lane if not each.item.job.ended]
        self._forget_empty()

    def take_full(self) -> list[ItemT]:
        """A full batch, or one that has been overtaken too often; else nothing."""
        for kind in self._most_urgent_first():
            if len(self._lanes[kind]) >= self._batch_size or self._is_overdue(kind):
                return self._take(kind, self._batch_size)
        return []

    def take_last(self, is_last: Callable[[ItemT], bool]) -> list[ItemT]:
        """A batch with the last items of some job, and others to fill half of it; nothing if there are none."""
        for kind in self._most_urgent_first():
            if last := sum(is_last(each.item) for each in self._lanes[kind]):
                return self._take(kind, max(last, self._batch_size // 2), lambda item: not is_last(item))
        return []

    def take_share(self, takers: int) -> list[ItemT]:
        """What there is of the kind that waits longest, fairly split among those who could take it."""
        for kind in self._most_urgent_first():
            return self._take(kind, ceil(len(self._lanes[kind]) / takers))
        return []

    def _is_overdue(self, kind: Hashable) -> bool:
        return self._steps - self._waits_since[kind] >= PATIENCE

    def _rank(self, queued: _Queued[ItemT]) -> int:
        return queued.item.job.share.priority - (self._steps - queued.since) // PATIENCE

    def _most_urgent_first(self) -> list[Hashable]:
        """Overdue lanes, then those with the most urgent items, of equal ones those that wait longest."""
        return sorted(
            self._lanes,
            key=lambda kind: (
                not self._is_overdue(kind),
                min(map(self._rank, self._lanes[kind])),
                self._waits_since[kind],
            ),
        )

    def _take(self, kind: Hashable, count: int, later: Callable[[ItemT], bool] = lambda _: False) -> list[ItemT]:
        self._lanes[kind].sort(key=lambda each: (later(each.item), self._rank(each)))
        self._steps += 1
        self._waits_since[kind] = self._steps
        self._since_trouble += 1
        if self._since_trouble % RECOVERY == 0:
            self._batch_size = min(2 * self._batch_size, self._full_size)
        count = min(count, self._batch_size)
        batch, self._lanes[kind] = self._lanes[kind][:count], self._lanes[kind][count:]
        self._forget_empty()
        return [each.item for each in batch]

    def _forget_empty(self) -> None:
        self._lanes = {kind: lane for kind, lane in self._lanes.items() if lane}
        self._waits_since = {kind: since for kind, since in self._waits_since.items() if kind in self._lanes}
