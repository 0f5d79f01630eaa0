"""Places for work that only a few jobs may do at the same time, such as probing and decoding.

The most urgent job goes first, and no tenant and no owner gets all places.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

from app.process.shares import Shares


@dataclass(frozen=True, slots=True)
class Rank:
    """What decides which work goes first: its priority, from 0 (first) to 9, and then fairness among the tenants.

    Within a tenant, it is fairness among the owners. The owner is the API key that the work is done for.
    """

    priority: int = 5
    owner: str = ""
    tenant: str = ""


class Holders:
    """Counts who holds some places. One owner holds at most `of_one`, and so does one tenant if there are several."""

    def __init__(self, places: int, of_one: int, shares: Shares | None = None) -> None:
        self._places = places
        self._of_one = of_one
        self.shares = shares or Shares()
        self.of_owner: Counter[str] = Counter()
        self.of_tenant: Counter[str] = Counter()

    @property
    def free(self) -> int:
        return self._places - self.of_owner.total()

    def has_room(self, owner: str, tenant: str) -> bool:
        """Whether this owner may hold one more place."""
        return (
            self.free > 0
            and self.of_owner[owner] < self.shares.most_of_caller(tenant, self._of_one)
            and self.of_tenant[tenant] < self.shares.most_of_tenant(self._places, self._of_one)
        )

    def enter(self, owner: str, tenant: str) -> None:
        self.of_owner[owner] += 1
        self.of_tenant[tenant] += 1

    def leave(self, owner: str, tenant: str) -> None:
        for counter, name in ((self.of_owner, owner), (self.of_tenant, tenant)):
            counter[name] -= 1
            if not counter[name]:
                del counter[name]

    @contextmanager
    def holding(self, owner: str, tenant: str) -> Iterator[None]:
        self.enter(owner, tenant)
        try:
            yield
        finally:
            self.leave(owner, tenant)


@dataclass(eq=False)
class _Waiting:
    rank: Rank
    admitted: "asyncio.Future[None]"


class FairPlaces:
    """Shares `places`, of which one owner holds at most `of_one` at the same time.

    If there are several tenants, this also holds for each of them. Of work with equal priority, that of the tenant
    which holds the fewest places goes first, and then that which has waited longest.
    """

    def __init__(self, places: int, of_one: int, shares: Shares | None = None) -> None:
        self._holders = Holders(places, of_one, shares)
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
                self._holders.leave(rank.owner, rank.tenant)
            self._admit()

    def _admit(self) -> None:
        while (waiting := min(filter(self._may_enter, self._waiting), key=self._order, default=None)) is not None:
            self._waiting.remove(waiting)
            self._holders.enter(waiting.rank.owner, waiting.rank.tenant)
            if not waiting.admitted.done():
                waiting.admitted.set_result(None)

    def _may_enter(self, waiting: _Waiting) -> bool:
        return self._holders.has_room(waiting.rank.owner, waiting.rank.tenant)

    def _order(self, waiting: _Waiting) -> tuple[int, int]:
        return waiting.rank.priority, self._holders.of_tenant[waiting.rank.tenant]
