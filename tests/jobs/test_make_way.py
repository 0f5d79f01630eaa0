"""A worker without a free place gives a running job back, so that a job of another key can run."""

import asyncio

from uuid_utils.compat import uuid7

from app.jobs.capacity import FETCHES, SLOTS, share_of_one
from app.jobs.lifecycle import LONGEST_FETCH_SECONDS, Status
from testing.job_bench import Bench, Clock, waits_after, working
from testing.origin import Origin
from testing.recordings import tone
from testing.waiting import soon
from tests.jobs.conftest import asked

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
        clock.seconds += LONGEST_FETCH_SECONDS
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
