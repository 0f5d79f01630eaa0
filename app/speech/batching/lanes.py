"""Prepared items that wait to be recognized. Items that may be in the same batch are in the same lane.

It decides which items the next batch holds. It has no threads and no locks of its own.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from math import ceil
from typing import Generic, TypeVar

from app.speech.batching.work import Item

ItemT = TypeVar("ItemT", bound=Item)

# After this number of batches without trouble, batches may grow again, because another program may have had the memory.
RECOVERY = 100

# This number of steps of other work may overtake a lane that does not fill a batch. After each such wait, an item
# counts as one priority more urgent, so that no item starves.
PATIENCE = 24

# After this number of steps, a lane with an item that hurries counts as a full batch. It overtakes no lane that is more
# urgent.
SHORT_PATIENCE = 2

# The same for a lane of items that are recognized again. This takes long, so it must not begin when all else is done. A
# few steps bring more of these items into the batch, which then hardly takes longer.
AGAIN_PATIENCE = 6


@dataclass(frozen=True)
class _Queued(Generic[ItemT]):
    item: ItemT
    since: int


class Lanes(Generic[ItemT]):
    """Gives batches of at most `batch_size` items: the most urgent first, and the oldest of equally urgent ones."""

    def __init__(self, batch_size: int) -> None:
        self._batch_size = self._full_size = batch_size
        self._since_trouble = 0
        self._lanes: dict[Hashable, list[_Queued[ItemT]]] = {}
        self._waits_since: dict[Hashable, int] = {}
        self._may_hurry: set[Hashable] = set()
        self._steps = 0
        self.small_size: int | None = None
        """The most items of a batch while live calls go on, so that a thread is free for them soon. None otherwise."""

    def put(self, item: ItemT, kind: Hashable) -> None:
        self._lanes.setdefault(kind, []).append(_Queued(item, self._steps))
        self._waits_since.setdefault(kind, self._steps)
        if item.hurries is not None:
            self._may_hurry.add(kind)

    def most_urgent(self) -> int | None:
        """The priority of the most urgent item, or None if there is none. While an item waits, it gets more urgent."""
        return min((self._priority_now(each) for lane in self._lanes.values() for each in lane), default=None)

    @property
    def overdue(self) -> bool:
        """Whether a lane has been overtaken so often that it goes first."""
        return any(map(self._is_overdue, self._lanes))

    def shrink(self, failed: int) -> None:
        """Makes batches half as large as a batch of `failed` items that did not fit, for the next RECOVERY batches."""
        self._batch_size = max(1, min(self._batch_size, failed // 2))
        self._since_trouble = 0

    def overtake(self) -> None:
        """Records that other work was done before the queued items."""
        self._steps += 1

    def drop_ended(self) -> None:
        """Drops the items of jobs that have ended."""
        for kind, lane in self._lanes.items():
            self._lanes[kind] = [each for each in lane if not each.item.job.ended]
        self._forget_empty()

    def take_full(self) -> list[ItemT]:
        """A full batch, or the items of a lane that has waited too long. Empty if there is neither."""
        for kind in self._most_urgent_first():
            if live := self._live(kind):
                return self._take(kind, live)
            if len(self._lanes[kind]) >= self._size or self._waited(kind) >= self._patience(kind):
                return self._take(kind, self._size)
        return []

    def take_last(self, is_last: Callable[[ItemT], bool]) -> list[ItemT]:
        """A batch with the last items of a job. If it is less than half full, other items fill it up to half.

        Empty if no job has only its last items left.
        """
        for kind in self._most_urgent_first():
            if last := sum(is_last(each.item) for each in self._lanes[kind]):
                return self._take(kind, max(last, self._size // 2), lambda item: not is_last(item))
        return []

    def take_part(self, takers: int) -> list[ItemT]:
        """A part of the most urgent lane, so that each of `takers` idle threads can get an equal part."""
        for kind in self._most_urgent_first():
            # A part of the items that are recognized again takes as long as all of them.
            takers = 1 if all(each.item.again for each in self._lanes[kind]) else takers
            return self._take(kind, ceil(len(self._lanes[kind]) / takers))
        return []

    @property
    def _size(self) -> int:
        return self._batch_size if self.small_size is None else min(self._batch_size, self.small_size)

    def _live(self, kind: Hashable) -> int:
        """How many items of a lane belong to live calls, which wait for no others."""
        if self.small_size is None:
            return 0
        return sum(each.item.job.rank.priority < 0 for each in self._lanes[kind])

    def _patience(self, kind: Hashable) -> int:
        if kind in self._may_hurry and self._hurries(kind):
            return SHORT_PATIENCE
        return AGAIN_PATIENCE if self._is_again(kind) else PATIENCE

    def _is_again(self, kind: Hashable) -> bool:
        return any(each.item.again for each in self._lanes[kind])

    def _is_overdue(self, kind: Hashable) -> bool:
        return self._waited(kind) >= PATIENCE

    def _waited(self, kind: Hashable) -> int:
        return self._steps - self._waits_since[kind]

    def _hurries(self, kind: Hashable) -> bool:
        return any(each.item.hurries is not None and each.item.hurries() for each in self._lanes[kind])

    def _priority_now(self, queued: _Queued[ItemT]) -> int:
        return queued.item.job.rank.priority - (self._steps - queued.since) // PATIENCE

    def _most_urgent_first(self) -> list[Hashable]:
        """Overdue lanes first, then by the most urgent item, then by how long the lane has waited.

        Of equally urgent lanes, those of items that are recognized again come first, because they take longest.
        """
        return sorted(
            self._lanes,
            key=lambda kind: (
                not self._is_overdue(kind),
                min(map(self._priority_now, self._lanes[kind])),
                not self._is_again(kind),
                self._waits_since[kind],
            ),
        )

    def _take(self, kind: Hashable, count: int, later: Callable[[ItemT], bool] = lambda _: False) -> list[ItemT]:
        self._lanes[kind].sort(key=lambda each: (later(each.item), self._priority_now(each)))
        self._steps += 1
        self._waits_since[kind] = self._steps
        self._since_trouble += 1
        if self._since_trouble % RECOVERY == 0:
            self._batch_size = min(2 * self._batch_size, self._full_size)
        count = min(count, self._size)
        batch, self._lanes[kind] = self._lanes[kind][:count], self._lanes[kind][count:]
        self._forget_empty()
        return [each.item for each in batch]

    def _forget_empty(self) -> None:
        self._lanes = {kind: lane for kind, lane in self._lanes.items() if lane}
        self._waits_since = {kind: since for kind, since in self._waits_since.items() if kind in self._lanes}
        self._may_hurry &= self._lanes.keys()
