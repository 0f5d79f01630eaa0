"""Places for work that only a few jobs may do at the same time, such as probing and decoding.

The most urgent job goes first, and no owner gets all places.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rank:
    """What decides which work goes first: its priority, from 0 (first) to 9, and then fairness among the owners.

    The owner is the API key that the work is done for.
    """

    priority: int = 5
    owner: str = ""


@dataclass(eq=False)
class _Waiting:
    rank: Rank
    admitted: "asyncio.Future[None]"


class FairPlaces:
    """Shares `places`, of which one owner holds at most `of_one` at the same time.

    Of work with equal priority, that which has waited longest goes first.
    """

    def __init__(self, places: int, of_one: int) -> None:
        self._places = places
        self._of_one = of_one
        self._held: Counter[str] = Counter()
        self._waiting: list[_Waiting] = []

    @asynccontextmanager
    async def place(self, rank: Rank) -> AsyncIterator[None]:
        """Wait for a place, and hold it until the end of the block. A caller that is cancelled waits no longer."""
        waiting = _Waiting(rank, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        self._admit()
        try:
            await waiting.admitted
            yield
        finally:
            if waiting in self._waiting:
                self._waiting.remove(waiting)
            else:
                self._held[rank.owner] -= 1
            self._admit()

    def _admit(self) -> None:
        for waiting in sorted(self._waiting, key=lambda each: each.rank.priority):
            if self._held.total() < self._places and self._held[waiting.rank.owner] < self._of_one:
                self._waiting.remove(waiting)
                self._held[waiting.rank.owner] += 1
                if not waiting.admitted.done():
                    waiting.admitted.set_result(None)
        self._held = +self._held
