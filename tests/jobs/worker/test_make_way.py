"""A worker without a free place gives a running job back, so that a job of another key can run."""

import asyncio
import threading

import pytest
from sqlmodel.ext.asyncio.session import AsyncSession
from uuid_utils.compat import uuid7

from app.jobs.claims import queue
from app.jobs.claims.capacity import FETCHES, SLOTS, Capacity, Pauses, free_fetches, free_slots, share_of_one
from app.jobs.claims.claiming import Claimed
from app.jobs.lifecycle import LONGEST_FETCHES_SECONDS, Interrupted, Outcome, SlowFetch, Status
from app.jobs.worker.making_way import who_makes_way
from app.jobs.worker.running import Running
from app.process.shares import Shares
from testing.job_bench import Bench, Clock, waits_after, working
from testing.origin import Exchange, Origin
from testing.recordings import tone
from testing.waiting import soon
from tests.jobs.conftest import asked

ALONE = Shares()
MOST = share_of_one(SLOTS)


async def test_the_least_urgent_job_makes_way_for_a_more_urgent_one_of_another_key(bench: Bench) -> None:
    bench.engine.hang = True
    patient = [
        await bench.enqueue(tone(), priority=9, caller="greedy" if number < MOST else "other")
        for number in range(SLOTS)
    ]
    async with working(bench):
        await soon(lambda: len(bench.engine.given) == SLOTS)
        urgent = await bench.enqueue(tone(), priority=0, caller="late")
        await bench.until(urgent, lambda job: job.status == Status.IN_PROGRESS)
        jobs = [await bench.read(job_id) for job_id in patient]
        waiting = [job for job in jobs if job is not None and waits_after(0, job)]
        assert len(waiting) == 1
        assert (waiting[0].crashes, waiting[0].hindrances) == (0, 0)
        bench.engine.release.set()
        for job_id in patient:
            assert (await bench.ended(job_id)).attempts == 1


async def test_no_job_makes_way_for_an_equally_urgent_job(bench: Bench) -> None:
    bench.engine.hang = True
    for number in range(SLOTS):
        await bench.enqueue(tone(), caller="greedy" if number < MOST else "other")
    async with working(bench):
        await soon(lambda: len(bench.engine.given) == SLOTS)
        waiting = await bench.enqueue(tone(), caller="late")
        for _ in range(3):
            bench.signals.wake()
            await asyncio.sleep(0.05)
        job = await bench.read(waiting)
    assert job is not None
    assert job.started_at is None
    assert bench.engine.cancelled == SLOTS  # by the end of the worker, not before


async def test_a_slow_fetch_makes_way_for_a_fetch_of_another_key(bench: Bench, clock: Clock, origin: Origin) -> None:
    tarpits = [
        await bench.add(
            uuid7(), source=origin.url("/hanging.wav"), source_host=f"host-{number % 2}", caller=f"key-{number % 2}"
        )
        for number in range(FETCHES)
    ]
    async with working(bench):
        await asked(origin, "/hanging.wav", FETCHES)
        late = await bench.add(uuid7(), source=origin.url("/call.wav"), source_host="host-2", caller="late")
        clock.seconds += LONGEST_FETCHES_SECONDS[0]
        bench.signals.wake()
        assert (await bench.ended(late)).status == Status.COMPLETED
        jobs = [await bench.read(job_id) for job_id in tarpits]
        left = [job for job in jobs if job is not None and waits_after(0, job)]
        assert [(job.slow_fetches, job.hindrances, job.crashes) for job in left] == [(1, 0, 0)]


async def test_no_job_makes_way_for_a_key_that_already_has_its_share(bench: Bench) -> None:
    bench.engine.hang = True
    for _ in range(SLOTS - MOST):
        await bench.enqueue(tone(), priority=9, caller="patient")
    for _ in range(MOST + 5):
        await bench.enqueue(tone(), priority=0, caller="urgent")
    async with working(bench):
        await soon(lambda: len(bench.engine.given) == SLOTS)
        for _ in range(5):
            bench.signals.wake()
            await asyncio.sleep(0.05)
        assert bench.engine.cancelled == 0
        assert len(bench.engine.given) == SLOTS


class Worker:
    """A worker whose jobs do nothing. It claims at second 0."""

    def __init__(self, bench: Bench) -> None:
        self._database = bench.database
        self.running: list[Running] = []

    async def claim(self) -> list[tuple[str, int]]:
        async with self._database.transaction() as session:
            jobs = await queue.claim(session, "worker", *self._capacity())
        self.running += [Running(job, 0.0, shows_fitness=False) for job in jobs]
        return [(job.caller, job.priority) for job in jobs]

    async def who_makes_way(self, now: float) -> list[tuple[str, Outcome]]:
        async with self._database.transaction() as session:
            leaving = await who_makes_way(session, self.running, *self._capacity(), now)
        return [(running.job.caller, outcome) for running, outcome in leaving]

    def _capacity(self) -> tuple[Capacity, Capacity]:
        held = [running.held for running in self.running]
        return free_slots(held, Pauses(), 0.0, ALONE), free_fetches(held, Pauses(), 0.0, ALONE)


async def wait_to_be_fetched(bench: Bench, caller: str, count: int, priority: int = 5) -> None:
    for number in range(count):
        host = f"{caller}-{number}.example"
        await bench.add(uuid7(), source=f"http://{host}/a", source_host=host, caller=caller, priority=priority)


async def test_a_job_that_has_been_fetched_does_not_make_way_for_a_fetch(bench: Bench) -> None:
    worker = Worker(bench)
    await wait_to_be_fetched(bench, "patient", 1, priority=9)
    await worker.claim()
    worker.running[0].audio_key = "fetched"
    await wait_to_be_fetched(bench, "a", 5)
    await wait_to_be_fetched(bench, "b", 5)
    assert len(await worker.claim()) == FETCHES

    await bench.enqueue(tone(), caller="urgent", priority=0)
    assert await worker.who_makes_way(1.0) == []
    await wait_to_be_fetched(bench, "urgent", 1, priority=0)
    assert await worker.who_makes_way(1.0) in ([("a", Interrupted())], [("b", Interrupted())])


async def test_one_waiting_job_gets_one_place(bench: Bench) -> None:
    worker = Worker(bench)
    await wait_to_be_fetched(bench, "a", 5)
    await wait_to_be_fetched(bench, "patient", 5, priority=9)
    await worker.claim()
    await wait_to_be_fetched(bench, "urgent", 1, priority=0)
    assert await worker.who_makes_way(LONGEST_FETCHES_SECONDS[0]) == [("patient", Interrupted())]


async def test_no_fetch_makes_way_if_its_own_key_would_get_the_place(bench: Bench) -> None:
    worker = Worker(bench)
    await wait_to_be_fetched(bench, "a", 6)
    await wait_to_be_fetched(bench, "b", 4)
    await worker.claim()
    await wait_to_be_fetched(bench, "c", 1, priority=9)
    slow = LONGEST_FETCHES_SECONDS[0]
    assert await worker.who_makes_way(slow) == [("a", SlowFetch())]
    await wait_to_be_fetched(bench, "a", 1, priority=1)
    assert await worker.who_makes_way(slow) == []


async def test_fetches_that_end_while_the_worker_decides_do_not_make_way(
    bench: Bench, clock: Clock, origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    another_waits, deciding, decided, answer = (
        queue.another_waits_to_fetch,
        asyncio.Event(),
        asyncio.Event(),
        threading.Event(),
    )

    async def decide_late(session: AsyncSession, job: Claimed, capacity: Capacity, only_tenant: str | None) -> bool:
        if not (waits := await another_waits(session, job, capacity, only_tenant)):
            return False
        deciding.set()
        await decided.wait()
        return waits

    def answer_late(exchange: Exchange) -> None:
        answer.wait(20)
        exchange.whole(tone())

    monkeypatch.setattr(queue, "another_waits_to_fetch", decide_late)
    origin.answers["/late.wav"] = answer_late
    bench.engine.hang = True
    for number in range(FETCHES):
        key = f"key-{number % 2}"
        await bench.add(uuid7(), source=origin.url("/late.wav"), source_host=f"{key}.example", caller=key)
    async with working(bench):
        await asked(origin, "/late.wav", FETCHES)
        await bench.add(uuid7(), source=origin.url("/call.wav"), source_host="late.example", caller="late")
        clock.seconds += LONGEST_FETCHES_SECONDS[0]
        bench.signals.wake()
        await asyncio.wait_for(deciding.wait(), 10)
        answer.set()
        await soon(lambda: len(bench.engine.given) == FETCHES)
        decided.set()
        await soon(lambda: len(bench.engine.given) == FETCHES + 1)
        assert bench.engine.cancelled == 0
        bench.engine.release.set()


async def test_no_job_makes_way_while_the_worker_is_on_probation(bench: Bench) -> None:
    bench.engine.hang = True
    for number in range(SLOTS):
        await bench.enqueue(tone(), priority=9, caller="greedy" if number < MOST else "other")
    async with working(bench):
        await soon(lambda: len(bench.engine.given) == SLOTS)
        bench.runner.fitness._condition.trial_failed("the disk was full", now=-1000.0)
        await soon(lambda: bench.runner.fitness.trouble is None)
        assert bench.runner.fitness.on_probation
        await bench.enqueue(tone(), priority=0, caller="late")
        for _ in range(3):
            bench.signals.wake()
            await asyncio.sleep(0.05)
        assert bench.engine.cancelled == 0
