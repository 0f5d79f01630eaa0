"""A worker whose store is unavailable or whose disk is full pauses before it claims jobs of that kind again."""

import asyncio
from typing import NoReturn

import pytest
from uuid_utils.compat import uuid7

from app.errors import InsufficientStorage
from app.jobs.claims.capacity import FETCHES, SLOTS
from app.jobs.lifecycle import Status
from app.jobs.worker.blame import STORE_PAUSE
from app.speech.model import ModelAway
from app.storage.store import StoreUnavailable
from app.transcripts.transcript import Options
from testing.job_bench import Bench, Clock, waits_after, working
from testing.origin import answering
from testing.recordings import tone


async def test_a_worker_whose_store_is_unavailable_claims_no_uploads_for_a_while(bench: Bench, clock: Clock) -> None:
    jobs = [await bench.enqueue(tone(), caller=f"key-{number % 2}") for number in range(SLOTS + 1)]
    bench.engine.error = StoreUnavailable("the bucket cannot be used")
    with answering() as origin:
        origin.answers["/call.wav"] = lambda exchange: exchange.whole(tone())
        async with working(bench):
            for job_id in jobs[:SLOTS]:
                await bench.until(job_id, lambda job: job.started_at and waits_after(0, job))
            bench.engine.error = None
            clock.seconds += STORE_PAUSE.total_seconds() - 1
            await bench.ended(await bench.add(uuid7(), source=origin.url("/call.wav")))
            left_alone = await bench.read(jobs[SLOTS])
            assert left_alone is not None
            assert left_alone.started_at is None
            clock.seconds += 1
            assert (await bench.ended(jobs[SLOTS])).status == Status.COMPLETED


async def test_a_worker_whose_disk_is_full_claims_no_fetches_for_a_while(
    bench: Bench, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def no_space(*_: object) -> NoReturn:
        raise InsufficientStorage

    with answering() as origin:
        origin.answers["/call.wav"] = lambda exchange: exchange.whole(tone())
        jobs = [
            await bench.add(
                uuid7(), source=origin.url("/call.wav"), source_host=f"h{number % 2}", caller=f"key-{number % 2}"
            )
            for number in range(FETCHES + 1)
        ]
        with monkeypatch.context() as full:
            full.setattr(bench.space_to_fetch, "require", no_space)
            async with working(bench):
                for job_id in jobs[:FETCHES]:
                    await bench.until(job_id, lambda job: job.started_at and waits_after(0, job))
                await bench.ended(await bench.enqueue(tone()))
                left_alone = await bench.read(jobs[FETCHES])
                assert left_alone is not None
                assert left_alone.started_at is None
                full.undo()
                clock.seconds += STORE_PAUSE.total_seconds()
                assert (await bench.ended(jobs[FETCHES])).status == Status.COMPLETED


def with_models(bench: Bench, *remote: str) -> None:
    bench.models, bench.remote = ("base", *remote), remote
    bench.runner = bench.new_runner()


async def test_a_job_of_a_model_that_is_away_waits_while_those_of_other_models_go_on(
    bench: Bench, clock: Clock
) -> None:
    with_models(bench, "far")
    bench.engine.error = ModelAway("no answer")
    async with working(bench):
        met = await bench.enqueue(tone(), options=Options("far"))
        waits = await bench.until(met, lambda job: job.started_at and waits_after(0, job))
        assert (waits.attempts, waits.error_code) == (0, None)
        bench.engine.error, bench.engine.away = None, {"far": "no answer"}
        later = await bench.enqueue(tone(), options=Options("far"))
        assert (await bench.ended(await bench.enqueue(tone()))).status == Status.COMPLETED
        left_alone = await bench.read(later)
        assert left_alone is not None
        assert left_alone.started_at is None
        bench.engine.away = {}
        await bench.enqueue(tone())
        assert (await bench.ended(later)).status == Status.COMPLETED


async def test_a_slow_model_of_another_server_leaves_places_to_other_models(bench: Bench) -> None:
    with_models(bench, "far")
    bench.engine.hang = True
    far = [
        await bench.enqueue(tone(), options=Options("far"), caller=f"key-{number % 3}") for number in range(SLOTS + 4)
    ]
    near = [await bench.enqueue(tone(), caller=f"key-{number % 3}") for number in range(3)]
    async with working(bench):
        for job_id in near:
            await bench.until(job_id, lambda job: job.started_at)
        running = [job for job_id in far if (job := await bench.read(job_id)) and job.started_at]
        assert len(running) == SLOTS // 2
        bench.engine.release.set()
        for job_id in far:
            await bench.ended(job_id)


async def test_no_job_makes_way_for_one_of_a_model_that_holds_its_part_of_the_places(bench: Bench) -> None:
    with_models(bench, "far")
    bench.engine.hang = True
    part = SLOTS // 2
    for number in range(part):
        await bench.enqueue(tone(), options=Options("far"), caller=f"key-{number % 2}")
    near = [await bench.enqueue(tone(), caller=f"key-{number % 2}") for number in range(SLOTS - part)]
    async with working(bench):
        for job_id in near:
            await bench.until(job_id, lambda job: job.started_at)
        urgent = await bench.enqueue(tone(), options=Options("far"), caller="key-3", priority=0)
        for _ in range(3):
            bench.signals.wake()
            await asyncio.sleep(0.2)
        assert bench.engine.cancelled == 0
        bench.engine.release.set()
        assert (await bench.ended(urgent)).status == Status.COMPLETED
