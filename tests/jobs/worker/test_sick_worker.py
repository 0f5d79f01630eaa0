"""A worker that cannot work blames no recording for it, and leaves the queue to other workers."""

import errno
import shutil
from collections.abc import Callable
from typing import Any, NoReturn

import pytest
from uuid_utils.compat import uuid7

from app.audio.decode import DecoderUnavailable
from app.database import work
from app.jobs import lifecycle
from app.jobs.lifecycle import HINDRANCE_DELAYS, MAX_HINDRANCES, Status
from app.jobs.worker import condition, recording
from app.jobs.worker.condition import TRIAL_PAUSES_SECONDS
from app.storage.store import StoreUnavailable
from testing.job_bench import Bench, waits_after, working
from testing.origin import Origin
from testing.recordings import SAMPLE_CALL, tone
from testing.waiting import soon


def failing(error: Exception) -> Callable[..., Any]:
    async def fail(*_: object, **__: object) -> NoReturn:
        raise error

    return fail


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "POLL_SECONDS", 0.2)
    monkeypatch.setattr(condition, "TRIAL_PAUSES_SECONDS", tuple(pause / 10 for pause in TRIAL_PAUSES_SECONDS))


TROUBLES = [
    *(OSError(code, "trouble") for code in (errno.EROFS, errno.EIO, errno.EACCES, errno.EMFILE, errno.ENOENT)),
    DecoderUnavailable("the decoder was killed by SIGKILL"),
    BlockingIOError(errno.EAGAIN, "no process to be had"),
    MemoryError(),
]


@pytest.mark.parametrize("error", TROUBLES, ids=[f"{type(error).__name__}-{error}" for error in TROUBLES])
async def test_trouble_of_the_worker_fails_no_job(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    async with working(bench):
        with monkeypatch.context() as sick:
            sick.setattr(recording, "decode", failing(error))
            job_id = await bench.enqueue(tone())
            job = await bench.until(job_id, lambda job: job.started_at and waits_after(0, job))
            assert (job.error_code, job.crashes, job.hindrances) == (None, 0, 1)
            assert job.run_at >= job.created_at + HINDRANCE_DELAYS[0]
            assert bench.audio_files() != []
        await bench.hurry(job_id)
        assert (await bench.ended(job_id)).status == Status.COMPLETED


async def test_an_unknown_error_is_blamed_on_the_recording_only_if_the_worker_is_fit(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.engine.error = RuntimeError("can't start new thread")
    async with working(bench):
        with monkeypatch.context() as sick:
            sick.setattr(bench.runner.fitness, "_try_out", failing(bench.engine.error))
            job_id = await bench.enqueue(tone())
            job = await bench.until(job_id, lambda job: job.started_at and waits_after(0, job))
        assert job.hindrances == 1
        await bench.hurry(job_id)
        job = await bench.until(job_id, lambda job: waits_after(1, job))
    assert (job.hindrances, job.error_code) == (1, None)


async def test_a_worker_in_trouble_stops_claiming_and_resumes_by_itself(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle, "HINDRANCE_DELAYS", tuple(delay / 100 for delay in HINDRANCE_DELAYS))
    jobs = [await bench.enqueue(tone()) for _ in range(40)]
    async with working(bench):
        with monkeypatch.context() as sick:
            sick.setattr(recording, "decode", failing(OSError(errno.EROFS, "Read-only file system")))
            await bench.until(jobs[0], lambda job: job.hindrances)
            await soon(lambda: bench.runner.fitness.trouble is not None)
            assert bench.runner.fitness.trouble == "[Errno 30] Read-only file system"
            left = [await bench.read(job_id) for job_id in jobs]
            assert sum(job is not None and job.started_at is None for job in left) >= 20
        for job_id in jobs:
            job = await bench.ended(job_id)
            assert (job.status, job.attempts, job.crashes) == (Status.COMPLETED, 1, 0)
    assert bench.runner.fitness.trouble is None


async def test_a_folder_that_a_cleaner_removed_is_made_again(bench: Bench) -> None:
    shutil.rmtree(bench.store.folder.parent / "work")
    async with working(bench):
        job = await bench.ended(await bench.enqueue(SAMPLE_CALL.read_bytes()))
    assert (job.status, job.attempts, job.hindrances) == (Status.COMPLETED, 1, 0)


async def test_decoded_audio_that_a_cleaner_removed_is_decoded_again(bench: Bench) -> None:
    class Reading(type(bench.engine)):  # type: ignore[misc]
        async def transcribe(self, channels: Any, *arguments: Any) -> Any:
            if not self.given:
                shutil.rmtree(channels[0].path.parent)
            result = await super().transcribe(channels, *arguments)
            channels[0].read(0, 10)
            return result

    bench.engine = Reading()
    bench.runner = bench.new_runner()
    async with working(bench):
        job_id = await bench.enqueue(SAMPLE_CALL.read_bytes())
        job = await bench.until(job_id, lambda job: job.hindrances)
        await bench.hurry(job_id)
        job = await bench.ended(job_id)
    assert (job.status, job.attempts, job.hindrances) == (Status.COMPLETED, 1, 1)


async def test_a_job_whose_recording_is_missing_fails_after_its_tries(bench: Bench) -> None:
    async with working(bench):
        job_id = await bench.add(uuid7(), source="upload", audio_key="01989d2e-0000-7000-8000-000000000000")
        for attempt in (1, 2):
            await bench.until(job_id, lambda job, attempt=attempt: waits_after(attempt, job))  # type: ignore[misc]
            await bench.hurry(job_id)
        job = await bench.ended(job_id)
    assert (job.status, job.error_code) == (Status.FAILED, "transcription_failed")
    assert job.error_message == "The recording is missing from the store"


async def test_a_recording_that_keeps_hindering_fit_workers_counts_crashes_in_the_end(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fit() -> None:
        pass

    bench.engine.error = OSError(errno.EINVAL, "Invalid argument")
    monkeypatch.setattr(bench.runner.fitness, "_try_out", fit)
    async with working(bench):
        job_id = await bench.enqueue(tone())
        for number in range(1, MAX_HINDRANCES + 1):
            job = await bench.until(job_id, lambda job, number=number: job.hindrances == number)  # type: ignore[misc]
            assert (job.attempts, job.crashes) == (0, 0)
            await bench.hurry(job_id)
        job = await bench.ended(job_id)
    assert (job.status, job.error_code, job.crashes) == (Status.FAILED, "worker_crashed", 3)


async def test_an_announced_length_that_does_not_fit_delays_only_its_own_job(
    bench: Bench, origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench.space_to_fetch, "_least", lambda: 1_000_000)
    origin.answers["/huge.wav"] = lambda exchange: exchange.head(Content_Length=1_900_000)
    async with working(bench):
        huge = await bench.add(uuid7(), source=origin.url("/huge.wav"))
        await bench.until(huge, lambda job: job.started_at and waits_after(0, job))
        assert (await bench.ended(await bench.add(uuid7(), source=origin.url("/call.wav")))).status == Status.COMPLETED


async def test_a_worker_on_probation_claims_a_job_that_must_be_fetched(bench: Bench, origin: Origin) -> None:
    bench.runner.fitness._condition.trial_failed("the disk was full at the start", now=-1000.0)
    async with working(bench):
        await soon(lambda: bench.runner.fitness.trouble is None)
        assert bench.runner.fitness.on_probation
        job_id = await bench.add(uuid7(), source=origin.url("/call.wav"))
        assert (await bench.ended(job_id)).status == Status.COMPLETED


async def test_a_disk_that_does_not_answer_after_a_refused_fetch_costs_no_crash(
    bench: Bench, origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = iter([1_000_000])

    def least() -> int:
        for free in looks:
            return free
        raise StoreUnavailable("no answer from the disk")

    monkeypatch.setattr(bench.space_to_fetch, "_least", least)
    origin.answers["/huge.wav"] = lambda exchange: exchange.head(Content_Length=1_900_000)
    async with working(bench):
        job_id = await bench.add(uuid7(), source=origin.url("/huge.wav"))
        job = await bench.until(job_id, lambda job: job.started_at and waits_after(0, job))
    assert (job.crashes, job.hindrances) == (0, 0)
