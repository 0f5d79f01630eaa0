"""A worker that drains finishes its jobs within its grace, gives the others back, and claims no more."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from app.control import workers
from app.control.away import ModelsAway
from app.control.models import WorkerRow, WorkerState
from app.control.presence import Presence
from app.jobs.lifecycle import Status
from testing.job_bench import Bench, working
from testing.recordings import SAMPLE_CALL, tone
from testing.waiting import soon, until

NAME = "test:1"


@asynccontextmanager
async def present(bench: Bench, end: Callable[[], None] = lambda: None) -> AsyncIterator[Presence]:
    presence = Presence(
        bench.database,
        bench.signals,
        bench.runner,
        name=NAME,
        version="1.0",
        models=["base"],
        troubles=lambda: bench.engine.troubles,
        grace_seconds=60.0,
        end=end,
    )
    task = asyncio.create_task(presence.run())
    try:
        yield presence
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def known(bench: Bench) -> list[WorkerRow]:
    async with bench.database.transaction() as session:
        return list(await workers.known(session))


async def becomes(bench: Bench, state: WorkerState) -> None:
    async def is_so() -> bool:
        return [row.state for row in await known(bench)] == [state]

    await until(is_so)


async def drain(bench: Bench, grace_seconds: float | None = None, *, exits: bool = False) -> None:
    async with bench.database.transaction() as session:
        await workers.drain(session, NAME, by="eva", reason="kernel", grace_seconds=grace_seconds, exits=exits)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.control.presence.DRAINING_BEAT_SECONDS", 0.05)


async def test_running_jobs_end_and_waiting_jobs_stay_until_the_worker_goes_on(bench: Bench) -> None:
    bench.engine.hang = True
    async with working(bench), present(bench) as presence:
        running = await bench.enqueue(SAMPLE_CALL.read_bytes())
        await asyncio.wait_for(bench.engine.started.wait(), 10)
        await becomes(bench, WorkerState.WORKING)
        await drain(bench)
        await becomes(bench, WorkerState.DRAINING)
        assert presence.drain == "drained by eva: kernel"
        waiting = await bench.enqueue(tone())
        bench.engine.release.set()
        assert (await bench.ended(running)).status == Status.COMPLETED
        await becomes(bench, WorkerState.DRAINED)
        left = await bench.read(waiting)
        assert left is not None
        assert (left.status, left.attempts) == (Status.PENDING, 0)
        async with bench.database.transaction() as session:
            assert await workers.work_again(session, NAME)
        assert (await bench.ended(waiting)).status == Status.COMPLETED
        assert presence.drain is None


async def test_a_job_that_takes_longer_than_the_grace_goes_back_uncounted(bench: Bench) -> None:
    bench.engine.hang = True
    async with working(bench), present(bench):
        job_id = await bench.enqueue(SAMPLE_CALL.read_bytes())
        await asyncio.wait_for(bench.engine.started.wait(), 10)
        await becomes(bench, WorkerState.WORKING)
        await drain(bench, grace_seconds=0.1)
        await becomes(bench, WorkerState.DRAINED)
        job = await bench.read(job_id)
        assert job is not None
        assert (job.status, job.attempts, job.crashes) == (Status.PENDING, 0, 0)


async def test_a_worker_that_should_exit_ends_when_it_has_drained(bench: Bench) -> None:
    ended = asyncio.Event()
    async with working(bench), present(bench, ended.set):
        await becomes(bench, WorkerState.WORKING)
        await drain(bench, exits=True)
        await asyncio.wait_for(ended.wait(), 15)


async def test_a_worker_is_listed_while_it_lives_and_a_new_process_of_its_name_works(bench: Bench) -> None:
    async with working(bench), present(bench):
        await becomes(bench, WorkerState.WORKING)
        [row] = await known(bench)
        assert (row.name, row.version, row.models) == (NAME, "1.0", ["base"])
    assert await known(bench) == []
    async with bench.database.transaction() as session:
        await workers.begin(session, NAME, "1.0", ["base"])
        await workers.drain(session, NAME, by="eva", reason="kernel", grace_seconds=None, exits=True)
        await workers.begin(session, NAME, "1.1", ["base"])
    [row] = await known(bench)
    assert (row.version, row.drain_since, row.drain_exits) == ("1.1", None, False)


async def test_a_row_that_somebody_has_removed_comes_back(bench: Bench) -> None:
    async with bench.database.transaction() as session:
        assert await workers.seen(session, NAME, WorkerState.WORKING, {}) is None
    async with working(bench), present(bench) as presence:
        await becomes(bench, WorkerState.WORKING)
        async with bench.database.transaction() as session:
            await workers.end(session, NAME)
        await presence._beat()
        assert [row.name for row in await known(bench)] == [NAME]


async def test_every_process_learns_which_models_its_workers_cannot_use(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.control.away.REFRESH_SECONDS", 3600.0)
    known = ModelsAway(bench.database, bench.signals)
    async with working(bench), present(bench) as presence:
        await becomes(bench, WorkerState.WORKING)
        following = asyncio.create_task(known.run())
        try:
            for troubles in ({"base": "it cannot be reached"}, {}):
                bench.engine.away = troubles
                await presence._beat()
                await soon(lambda troubles=troubles: known.troubles == troubles)  # type: ignore[misc]
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
