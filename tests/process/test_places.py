"""Places that only a few owners may hold at the same time."""

import asyncio
from contextlib import AsyncExitStack

from app.process.places import FairPlaces, Rank
from app.process.shares import Shares


class Holders:
    """Waiters for places. `names` lists them in the order in which they got a place."""

    def __init__(self, places: FairPlaces) -> None:
        self._places = places
        self.names: list[str] = []
        self._ends: dict[str, asyncio.Event] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def ask(self, name: str, owner: str, priority: int = 5) -> None:
        self._ends[name] = asyncio.Event()
        self._tasks[name] = asyncio.create_task(self._hold(name, Rank(priority, owner)))
        await asyncio.sleep(0)

    async def _hold(self, name: str, rank: Rank) -> None:
        async with self._places.place(rank):
            self.names.append(name)
            await self._ends[name].wait()

    async def leave(self, name: str) -> None:
        self._ends[name].set()
        await self._tasks[name]
        await asyncio.sleep(0)

    async def give_up(self, name: str) -> None:
        self._tasks[name].cancel()
        await asyncio.wait({self._tasks[name]})
        await asyncio.sleep(0)


async def test_an_owner_leaves_the_last_place_to_others() -> None:
    holders = Holders(FairPlaces(3, 2))
    for name in ("a1", "a2", "a3"):
        await holders.ask(name, "a")
    await holders.ask("b1", "b")
    assert holders.names == ["a1", "a2", "b1"]
    await holders.leave("a1")
    assert holders.names == ["a1", "a2", "b1", "a3"]
    for name in ("a2", "a3", "b1"):
        await holders.leave(name)


async def test_the_most_urgent_waiter_gets_the_next_place_and_then_the_one_that_waits_longest() -> None:
    holders = Holders(FairPlaces(1, 1))
    await holders.ask("first", "a")
    for name, priority in (("late", 9), ("early", 9), ("urgent", 0)):
        await holders.ask(name, name, priority)
    for name in ("first", "urgent", "late", "early"):
        await holders.leave(name)
    assert holders.names == ["first", "urgent", "late", "early"]


async def test_a_cancelled_waiter_and_a_cancelled_holder_free_their_places() -> None:
    places = FairPlaces(1, 1)
    holders = Holders(places)
    await holders.ask("holds", "a")
    await holders.ask("waits", "b")
    await holders.give_up("waits")
    await holders.ask("next", "c")
    await holders.give_up("holds")
    assert holders.names == ["holds", "next"]
    await holders.leave("next")
    async with AsyncExitStack() as stack, asyncio.timeout(1):
        await stack.enter_async_context(places.place(Rank(5, "d")))


async def test_a_place_that_a_cancelled_waiter_got_goes_to_the_next_waiter() -> None:
    places = FairPlaces(1, 1)
    holders = Holders(places)
    await holders.ask("holds", "a")
    await holders.ask("waits", "b")
    await holders.ask("next", "c")
    holders._ends["holds"].set()
    waiting = holders._tasks["waits"]
    waiting.cancel()
    await asyncio.wait({waiting, holders._tasks["holds"]})
    await asyncio.sleep(0.01)
    assert holders.names[-1] == "next"
    await holders.leave("next")


async def test_a_tenant_leaves_the_last_place_to_others_and_the_one_that_holds_least_is_next() -> None:
    places = FairPlaces(3, 2, Shares({"many": 20, "one": 1, "late": 1}))
    order: list[str] = []

    async def hold(owner: str, tenant: str, until: asyncio.Event) -> None:
        async with places.place(Rank(5, owner, tenant)):
            order.append(tenant)
            await until.wait()

    ends = [asyncio.Event() for _ in range(8)]
    asked = [(f"many:{number}", "many") for number in range(5)] + [
        ("one:a", "one"),
        ("one:a", "one"),
        ("late:a", "late"),
    ]
    async with asyncio.TaskGroup() as group:
        for (owner, tenant), end in zip(asked, ends, strict=True):
            group.create_task(hold(owner, tenant, end))
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert order == ["many", "many", "one"]
        ends[0].set()
        for _ in range(3):
            await asyncio.sleep(0)
        assert order == ["many", "many", "one", "late"]
        for end in ends:
            end.set()
