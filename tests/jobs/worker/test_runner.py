"""The worker on a real database and real recordings, with an engine double instead of a model."""

import asyncio
from typing import Any

import pytest
from sqlmodel import select
from uuid_utils.compat import uuid7

from app.jobs.changes import changing
from app.jobs.claims import leases, queue
from app.jobs.claims.capacity import Capacity
from app.jobs.claims.claiming import Claimed
from app.jobs.lifecycle import Status
from app.jobs.models import StoredTranscript
from app.jobs.worker import heartbeat
from app.process.places import Rank
from testing.job_bench import Bench, working
from testing.recordings import SAMPLE_CALL
from testing.rows import KEEP_AUDIO, TESTER, execute


async def test_a_job_runs_from_claim_to_transcript_and_its_audio_is_erased(bench: Bench) -> None:
    async with working(bench):
        job = await bench.ended(await bench.enqueue(SAMPLE_CALL.read_bytes()))
    assert (job.status, job.codec, job.sample_rate, job.channels) == (Status.COMPLETED, "pcm_mulaw", 8000, 2)
    assert job.duration == pytest.approx(57.67, abs=0.1)
    assert job.decoding_seconds is not None
    assert job.transcribing_seconds is not None
    assert len(bench.engine.given[0]) == 2
    assert bench.engine.ranks == [Rank(priority=5, owner="test", tenant="default")]
    assert not bench.engine.given[0][0].path.exists()
    assert bench.audio_files() == []
    async with bench.database.transaction() as session:
        assert await session.get(StoredTranscript, job.id) is not None


async def test_a_cut_off_recording_is_transcribed_with_a_warning(bench: Bench) -> None:
    whole = SAMPLE_CALL.read_bytes()
    async with working(bench):
        job = await bench.ended(await bench.enqueue(whole[: len(whole) // 2]))
    assert job.status == Status.COMPLETED
    assert [warning["code"] for warning in job.warnings] == ["truncated"]
    async with bench.database.transaction() as session:
        stored = await session.get(StoredTranscript, job.id)
    assert stored is not None
    assert '"truncated"' in stored.transcript


async def test_a_broken_recording_fails_with_its_code_at_the_first_attempt(bench: Bench) -> None:
    async with working(bench):
        job = await bench.ended(await bench.enqueue(b"RIFF\x00\x00\x00\x00WAVEnothing of the kind"))
    assert (job.status, job.error_code, job.attempts) == (Status.FAILED, "unsupported_media", 1)
    assert bench.audio_files() == []


async def test_cancelling_a_running_job_stops_it(bench: Bench) -> None:
    bench.engine.hang = True
    async with working(bench):
        job_id = await bench.enqueue(SAMPLE_CALL.read_bytes())
        await asyncio.wait_for(bench.engine.started.wait(), 10)
        async with bench.database.transaction() as session:
            await changing.request_cancel(session, job_id, TESTER, KEEP_AUDIO)
        job = await bench.ended(job_id)
    assert (job.status, job.error_code, job.progress) == (Status.CANCELLED, None, 0.5)
    assert not bench.engine.given[0][0].path.exists()
    assert bench.audio_files() == []


async def test_deleting_a_running_job_stops_it_and_leaves_nothing(bench: Bench) -> None:
    bench.engine.hang = True
    async with working(bench):
        job_id = await bench.enqueue(SAMPLE_CALL.read_bytes())
        await asyncio.wait_for(bench.engine.started.wait(), 10)
        async with bench.database.transaction() as session:
            job = await changing.erase(session, job_id, TESTER)
        assert job.audio_key is not None
        await bench.store.delete(job.audio_key)
        await asyncio.wait_for(bench.runner.idle(), 10)
    assert await bench.read(job_id) is None
    assert bench.audio_files() == []
    async with bench.database.transaction() as session:
        assert (await session.exec(select(StoredTranscript))).all() == []


async def test_a_job_claimed_while_draining_goes_back(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    claim = queue.claim

    async def drain_meanwhile(session: Any, worker: str, slots: Capacity, *fetches: Capacity, **how: Any) -> Any:
        jobs = await claim(session, worker, slots, *fetches, **how)
        if jobs:
            await bench.runner.drain(0)
        return jobs

    monkeypatch.setattr(queue, "claim", drain_meanwhile)
    bench.engine.hang = True
    async with working(bench):
        job_id = await bench.enqueue(SAMPLE_CALL.read_bytes())
        job = await bench.until(job_id, lambda job: job.started_at and job.status == Status.PENDING)
    assert (job.attempts, job.crashes) == (0, 0)


async def test_a_stopped_job_gets_heartbeats_until_its_end_is_recorded(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "BEAT_SECONDS", 0.05)
    finish, beat_once = queue.finish, leases.heartbeat
    written, asked, beaten = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def beat(session: Any, beats: Any) -> Any:
        alive = await beat_once(session, beats)
        if asked.is_set() and alive:
            beaten.set()
        return alive

    async def finish_late(session: Any, job: Claimed, outcome: Any, **how: Any) -> Any:
        asked.set()
        await written.wait()
        return await finish(session, job, outcome, **how)

    monkeypatch.setattr(queue, "finish", finish_late)
    monkeypatch.setattr(leases, "heartbeat", beat)
    bench.engine.hang = True
    async with working(bench):
        job_id = await bench.enqueue(SAMPLE_CALL.read_bytes())
        await asyncio.wait_for(bench.engine.started.wait(), 10)
        await bench.runner.drain(0)
        await asyncio.wait_for(asked.wait(), 10)
        await asyncio.wait_for(beaten.wait(), 10)
        written.set()
    job = await bench.read(job_id)
    assert job is not None
    assert (job.status, job.attempts, job.crashes) == (Status.PENDING, 0, 0)


async def test_a_store_that_hangs_while_it_erases_delays_no_heartbeat(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "BEAT_SECONDS", 0.05)
    beat_once, erasing, beaten = leases.heartbeat, asyncio.Event(), asyncio.Event()

    async def beat(session: Any, beats: Any) -> Any:
        if erasing.is_set():
            beaten.set()
        return await beat_once(session, beats)

    async def hang(key: str) -> None:
        erasing.set()
        await asyncio.Event().wait()

    bench.engine.hang = True
    async with working(bench):
        await bench.enqueue(SAMPLE_CALL.read_bytes())
        await asyncio.wait_for(bench.engine.started.wait(), 10)
        with monkeypatch.context() as hanging:
            hanging.setattr(bench.store, "delete", hang)
            hanging.setattr(leases, "heartbeat", beat)
            lost = await bench.add(uuid7(), source="upload", audio_key=str(uuid7()))
            await execute(
                bench.database,
                "UPDATE transcription SET status = 'in_progress', crashes = 2, lease_token = gen_random_uuid(),"
                " lease_until = now() - interval '1 s' WHERE id = :id",
                id=lost,
            )
            await asyncio.wait_for(erasing.wait(), 10)
            await asyncio.wait_for(beaten.wait(), 10)


async def test_draining_gives_running_jobs_back_without_counting_the_attempt(bench: Bench) -> None:
    bench.engine.hang = True
    async with working(bench):
        job_id = await bench.enqueue(SAMPLE_CALL.read_bytes())
        await asyncio.wait_for(bench.engine.started.wait(), 10)
    job = await bench.read(job_id)
    assert job is not None
    assert (job.status, job.attempts, job.crashes, job.lease_token) == (Status.PENDING, 0, 0, None)
    assert bench.audio_files() != []
