"""The work loop, with work that is kept in memory instead of in a table."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress

import pytest

from app.database import work
from app.database.connections import Database
from app.database.notifications import Signals
from app.database.work import WorkLoop


class Kitchen:
    """Cooks dishes, two at the same time. Uses nothing but the loop."""

    def __init__(self, signals: Signals) -> None:
        self.signals = signals
        self.waiting: list[str] = []
        self.ended: dict[str, str] = {}
        self.refusals: list[Exception] = []
        self.on_claim: Callable[[], None] = lambda: None
        self.on_record: Callable[[], None] = lambda: None
        self.started = asyncio.Event()
        self.done = asyncio.Event()
        self.loop = WorkLoop[str, str](signals, "dishes", claim=self.claim, run=self.cook, record=self.record)

    def order(self, *dishes: str) -> None:
        self.waiting += dishes
        self.signals.wake("dishes")

    async def claim(self) -> list[str]:
        if self.refusals:
            raise self.refusals.pop()
        free = 2 - len(self.loop.running)
        claimed, self.waiting = self.waiting[:free], self.waiting[free:]
        if claimed:
            self.on_claim()
        return claimed

    async def cook(self, dish: str) -> str:
        self.started.set()
        if dish == "burnt":
            raise ValueError(dish)
        if dish == "slow":
            await self.done.wait()
        return "cooked"

    async def record(self, dish: str, ended: str | Exception | None) -> None:
        self.on_record()
        if ended is None:
            self.waiting.append(dish)
        self.ended[dish] = repr(ended)


@pytest.fixture
def kitchen() -> Kitchen:
    return Kitchen(Signals(Database("postgresql://nowhere/none")))


@asynccontextmanager
async def cooking(kitchen: Kitchen, grace_seconds: float = 0) -> AsyncIterator[None]:
    working = asyncio.create_task(kitchen.loop.work())
    yield
    await kitchen.loop.drain(grace_seconds)
    await asyncio.wait_for(working, 10)


async def ended(kitchen: Kitchen, dishes: int) -> None:
    async with asyncio.timeout(10):
        while len(kitchen.ended) < dishes:  # noqa: ASYNC110
            await asyncio.sleep(0)


async def test_claimed_work_is_run_and_its_end_is_recorded(kitchen: Kitchen) -> None:
    async with cooking(kitchen):
        kitchen.order("soup", "burnt", "rice", "tea")
        await ended(kitchen, 4)
    assert kitchen.ended == {
        "soup": "'cooked'",
        "burnt": "ValueError('burnt')",
        "rice": "'cooked'",
        "tea": "'cooked'",
    }


async def test_the_end_of_work_leads_to_the_next_claim_without_a_notification(kitchen: Kitchen) -> None:
    async with cooking(kitchen):
        kitchen.order("slow", "slow too", "next")
        await ended(kitchen, 2)
    assert kitchen.ended.keys() == {"slow", "slow too", "next"}
    assert kitchen.waiting == ["slow"]


async def test_work_without_a_notification_is_found_by_polling(
    kitchen: Kitchen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "POLL_SECONDS", 0.01)
    async with cooking(kitchen):
        await asyncio.sleep(0.02)
        kitchen.waiting.append("soup")
        await ended(kitchen, 1)


async def test_a_claim_is_repeated_after_database_trouble(kitchen: Kitchen) -> None:
    kitchen.refusals = [ConnectionResetError()]
    async with cooking(kitchen):
        await asyncio.sleep(0)
        kitchen.order("soup")
        await ended(kitchen, 1)


async def test_running_work_ends_within_the_grace(kitchen: Kitchen) -> None:
    async with cooking(kitchen, grace_seconds=10):
        kitchen.order("slow")
        await kitchen.started.wait()
        asyncio.get_running_loop().call_later(0.01, kitchen.done.set)
    assert kitchen.ended == {"slow": "'cooked'"}


async def test_work_that_outlasts_the_grace_goes_back(kitchen: Kitchen) -> None:
    async with cooking(kitchen):
        kitchen.order("slow")
        await kitchen.started.wait()
    assert kitchen.ended == {"slow": "None"}
    assert kitchen.waiting == ["slow"]


async def test_work_that_is_claimed_while_the_loop_closes_goes_back(kitchen: Kitchen) -> None:
    kitchen.on_claim = kitchen.loop.close
    async with cooking(kitchen):
        kitchen.order("soup")
        await ended(kitchen, 1)
    assert kitchen.waiting == ["soup"]
    assert not kitchen.started.is_set()


async def test_draining_waits_for_a_claim_that_is_under_way(kitchen: Kitchen) -> None:
    """The database may have committed the claim before its reply arrives."""
    claiming, reply = asyncio.Event(), asyncio.Event()
    claim = kitchen.loop._claim

    async def slow_claim() -> Iterable[str]:
        claimed = await claim()
        claiming.set()
        await reply.wait()
        return claimed

    kitchen.loop._claim = slow_claim
    kitchen.waiting = ["soup"]
    working = asyncio.create_task(kitchen.loop.work())
    await claiming.wait()
    idle = asyncio.create_task(kitchen.loop.idle())
    await kitchen.loop.drain(0.05)
    assert not idle.done()
    reply.set()
    await asyncio.wait_for(idle, 10)
    assert (kitchen.waiting, kitchen.ended) == (["soup"], {"soup": "None"})
    await working


async def test_work_that_ignores_its_stop_is_recorded_with_the_result_of_the_stop(kitchen: Kitchen) -> None:
    stubborn = kitchen.cook

    async def ignore_cancellation(dish: str) -> str:
        with suppress(asyncio.CancelledError):
            await stubborn(dish)
        return "its own result"

    kitchen.loop._run = ignore_cancellation
    async with cooking(kitchen):
        kitchen.order("slow")
        await kitchen.started.wait()
        kitchen.loop.stop("slow", "cancelled")
        await ended(kitchen, 1)
    assert kitchen.ended == {"slow": "'cancelled'"}


async def test_stopped_work_is_recorded_with_the_result_of_the_first_stop(kitchen: Kitchen) -> None:
    async with cooking(kitchen):
        kitchen.order("slow")
        await kitchen.started.wait()
        kitchen.loop.stop("slow", "cancelled")
        kitchen.loop.stop("slow", "too late")
        kitchen.loop.stop("unknown", "ignored")
        await ended(kitchen, 1)
    assert kitchen.ended == {"slow": "'cancelled'"}


async def test_a_record_that_fails_is_logged_and_the_loop_goes_on(
    kitchen: Kitchen, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        kitchen.on_record = lambda: None
        raise RuntimeError("no pen")

    kitchen.on_record = fail
    async with cooking(kitchen):
        kitchen.order("soup", "rice")
        await ended(kitchen, 1)
    assert "could not be recorded" in "".join(capsys.readouterr())
    assert kitchen.loop.running == []
