"""The worker while something is broken: the engine, the store, the disk, the database."""

import asyncio
import errno
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import pytest
from sqlalchemy import func
from sqlmodel import col, update
from uuid_utils.compat import uuid7

from app.errors import BadMedia, InsufficientStorage
from app.jobs.claims import leases, queue
from app.jobs.claims.claiming import Claimed
from app.jobs.claims.ending import Written
from app.jobs.lifecycle import ENGINE_DELAYS, MAX_CRASHES, Status
from app.jobs.models import Transcription
from app.jobs.worker import recording
from app.jobs.worker.blame import DISK_PAUSE, STORE_PAUSE
from app.speech.batching.batcher import EngineStopped
from app.speech.model import DeviceLost
from app.storage.store import StoreUnavailable
from app.storage.workspace import Workspace
from app.transcripts.transcript import Transcript, TranscriptWarning
from testing.job_bench import Bench, Clock, waits_after, working
from testing.origin import Origin
from testing.recordings import SAMPLE_CALL
from testing.rows import KEEP_AUDIO
from testing.waiting import soon


async def test_a_job_is_tried_again_and_then_given_up_if_the_engine_keeps_failing(bench: Bench) -> None:
    bench.engine.error = RuntimeError("a fault")
    tries = 1 + len(ENGINE_DELAYS)
    async with working(bench):
        job_id = await bench.enqueue(SAMPLE_CALL.read_bytes())
        for attempt in range(1, tries):
            job = await bench.until(job_id, partial(waits_after, attempt))
            assert job.run_at > job.created_at
            assert bench.audio_files() != []
            await bench.hurry(job_id)
        job = await bench.ended(job_id)
    assert (job.status, job.error_code, job.attempts) == (Status.FAILED, "transcription_failed", tries)
    assert job.error_message is not None
    assert "a fault" not in job.error_message


async def test_a_job_waits_while_the_store_is_unavailable_and_no_attempt_is_counted(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    @asynccontextmanager
    async def away(key: str) -> AsyncIterator[Path]:
        raise StoreUnavailable("the bucket cannot be used: no answer")
        yield Path(key)

    monkeypatch.setattr(bench.store, "local_path", away)
    async with working(bench):
        job_id = await bench.enqueue(SAMPLE_CALL.read_bytes())
        job = await bench.until(job_id, lambda job: job.started_at and waits_after(0, job))
    assert job.run_at >= job.created_at + STORE_PAUSE
    assert job.error_code is None
    assert bench.audio_files() != []


async def test_jobs_wait_until_a_missing_folder_is_back(bench: Bench, clock: Clock) -> None:
    folder, elsewhere = bench.store.folder, bench.store.folder.with_name("unmounted")
    jobs = [await bench.enqueue(SAMPLE_CALL.read_bytes())]
    jobs.append(await bench.add(uuid7(), source="http://127.0.0.1:9/call.wav"))
    folder.rename(elsewhere)
    async with working(bench):
        for job_id in jobs:
            waiting = await bench.until(job_id, lambda job: job.started_at and waits_after(0, job))
            assert (waiting.error_code, waiting.crashes) == (None, 0)
            assert waiting.run_at >= waiting.created_at + STORE_PAUSE
        elsewhere.rename(folder)
        clock.seconds += STORE_PAUSE.total_seconds()
        await bench.hurry(jobs[0])
        assert (await bench.ended(jobs[0])).status == Status.COMPLETED


async def test_a_recording_is_not_blamed_if_its_folder_disappears_during_the_decode(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def while_unmounting(path: Path, *_: Any, **__: Any) -> None:
        bench.store.folder.rename(bench.store.folder.with_name("unmounted"))
        raise BadMedia

    monkeypatch.setattr(recording, "decode", while_unmounting)
    async with working(bench):
        job_id = await bench.enqueue(SAMPLE_CALL.read_bytes())
        job = await bench.until(job_id, lambda job: job.started_at and waits_after(0, job))
    assert job.error_code is None


async def test_a_process_that_claims_its_lost_job_again_runs_it_once(bench: Bench) -> None:
    bench.engine.hang = True
    async with working(bench):
        job_id = await bench.enqueue(SAMPLE_CALL.read_bytes())
        await asyncio.wait_for(bench.engine.started.wait(), 10)
        first = await bench.read(job_id)
        assert first is not None
        bench.engine.started.clear()
        async with bench.database.transaction() as session:
            gone = func.now() - timedelta(seconds=1)
            await session.exec(update(Transcription).where(col(Transcription.id) == job_id).values(lease_until=gone))
            await leases.take_back_lost(session, KEEP_AUDIO)
        await asyncio.wait_for(bench.engine.started.wait(), 10)
        bench.engine.release.set()
        job = await bench.ended(job_id)
    assert (job.status, job.attempts, job.crashes) == (Status.COMPLETED, 2, 1)
    assert bench.engine.cancelled == 1


async def test_a_job_whose_batch_broke_the_device_counts_a_crash(bench: Bench) -> None:
    bench.engine.error = DeviceLost()
    job_id = await bench.enqueue(SAMPLE_CALL.read_bytes())
    for _ in range(MAX_CRASHES):
        with pytest.raises(EngineStopped):
            await asyncio.wait_for(bench.new_runner().run(), 20)
    job = await bench.ended(job_id)
    assert (job.status, job.error_code, job.attempts, job.crashes) == (Status.FAILED, "worker_crashed", 3, 3)


async def test_a_worker_whose_engine_stopped_ends_without_claiming_again(bench: Bench) -> None:
    bench.engine.error = EngineStopped()
    job_id = await bench.enqueue(SAMPLE_CALL.read_bytes())
    with pytest.raises(EngineStopped):
        await asyncio.wait_for(bench.runner.run(), 20)
    job = await bench.read(job_id)
    assert job is not None
    assert (job.status, job.attempts, job.crashes) == (Status.PENDING, 0, 0)
    assert len(bench.engine.given) == 1


async def test_a_result_that_the_database_refuses_fails_the_job_and_is_not_logged(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = "the customer's secret"
    bench.engine.result = Transcript("e\0n", 1.0, 1.0, (), (), (TranscriptWarning("w", secret),))
    async with working(bench):
        job_id = await bench.enqueue(SAMPLE_CALL.read_bytes())
        job = await bench.until(job_id, partial(waits_after, 1))
    assert job.run_at > job.created_at
    logged = "".join(capsys.readouterr())
    assert "finish failed" in logged
    assert "Succeeded" not in logged  # the log shows what was written
    assert secret not in logged


async def test_the_recording_is_erased_even_if_the_reply_to_the_commit_of_the_end_is_lost(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish, calls = queue.finish, 0

    async def commit_and_lose_the_reply(session: Any, job: Claimed, outcome: Any, **how: Any) -> Written | None:
        nonlocal calls
        calls += 1
        written = await finish(session, job, outcome, **how)
        if calls == 1:
            await session.commit()
            raise ConnectionResetError
        return written

    monkeypatch.setattr(queue, "finish", commit_and_lose_the_reply)
    async with working(bench):
        job = await bench.ended(await bench.enqueue(SAMPLE_CALL.read_bytes()))
        await asyncio.wait_for(bench.runner.idle(), 10)
    assert (job.status, calls) == (Status.COMPLETED, 2)
    assert bench.audio_files() == []


async def test_a_job_is_postponed_if_the_disk_has_no_space_for_its_recording(
    bench: Bench, origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(*_: object) -> NoReturn:
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(bench.store, "save", full)
    async with working(bench):
        job_id = await bench.add(uuid7(), source=origin.url("/call.wav"))
        job = await bench.until(job_id, lambda job: job.run_at > job.created_at)
    assert (job.status, job.attempts, job.error_code) == (Status.PENDING, 0, None)
    assert job.run_at >= job.created_at + DISK_PAUSE


async def test_decoded_audio_of_a_dead_process_is_erased(tmp_path: Path) -> None:
    left = tmp_path / "left"
    left.mkdir()
    (left / "channel-0.pcm").write_bytes(b"speech")
    alive = Workspace(tmp_path)
    async with alive.folder() as folder:
        (folder / "channel-0.pcm").write_bytes(b"speech")
        Workspace(tmp_path).close()
        assert not left.exists()
        assert (folder / "channel-0.pcm").exists()
    alive.close()
    assert [path.name for path in await asyncio.to_thread(lambda: list(tmp_path.iterdir()))] == [".lock"]


async def test_decoding_stops_before_it_fills_the_disk_and_the_worker_claims_no_more(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0

    async def require(coming: int = 0) -> None:
        nonlocal looks
        looks += 1
        if looks > 1:  # the first check finds enough room
            raise InsufficientStorage

    monkeypatch.setattr(recording, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(bench.free_space, "require", require)
    async with working(bench):
        job_id = await bench.enqueue(SAMPLE_CALL.read_bytes())
        job = await bench.until(job_id, lambda job: job.hindrances)
        await bench.hurry(job_id)
        await soon(lambda: bench.runner.fitness.trouble is not None)
        left_alone = await bench.read(job_id)
    assert left_alone is not None
    assert (left_alone.status, left_alone.hindrances, job.attempts) == (Status.PENDING, 1, 0)
    assert bench.engine.given == []
    assert list((bench.store.folder.parent / "work").rglob("*.pcm")) == []
