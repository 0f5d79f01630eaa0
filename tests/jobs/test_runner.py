"""The worker on a real database and real recordings; an engine double stands in where an attempt has to go wrong."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import func
from sqlmodel import col, select, update
from uuid_utils.compat import uuid7

from app.audio.pcm import PcmFile
from app.audio.store import LocalAudioStore
from app.db import Database
from app.jobs import queue
from app.jobs.lifecycle import MAX_TRIES, Status
from app.jobs.models import StoredTranscript, Transcription, stored_options
from app.jobs.runner import JobRunner
from app.signals import Signals, notify
from app.speech.transcript import Options, Transcript

CALL = Path(__file__).parents[2] / "samples" / "sample_call.wav"
SILENCE = Transcript(None, None, 1.0, (), ())


class EngineDouble:
    """Fails, hangs or succeeds as it is told; remembers what it was given."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.hang = False
        self.given: list[Sequence[PcmFile]] = []
        self.started = asyncio.Event()

    async def transcribe(
        self, channels: Sequence[PcmFile], options: Options, on_progress: Callable[[float], None]
    ) -> Transcript:
        self.given.append(channels)
        on_progress(0.5)
        self.started.set()
        if self.hang:
            await asyncio.Event().wait()
        if self.error is not None:
            raise self.error
        return SILENCE


class Bench:
    """A runner at work, with what a test needs to watch it."""

    def __init__(self, database: Database, store: LocalAudioStore, signals: Signals, engine: EngineDouble) -> None:
        self.database = database
        self.store = store
        self.signals = signals
        self.engine = engine
        self.runner = JobRunner(database, signals, store, engine, worker="test", max_audio_seconds=600)

    async def enqueue(self, content: bytes) -> UUID:
        job_id = uuid7()

        async def stream() -> AsyncIterator[bytes]:
            yield content

        audio = await self.store.save(str(job_id), stream(), len(content))
        options = stored_options.dump_python(Options(model="base", channels="split"), mode="json")
        async with self.database.transaction() as session:
            now = await queue.now(session)
            job = Transcription(
                id=job_id,
                caller="test",
                fingerprint="f",
                metadata_={},
                options=options,
                priority=5,
                source="upload",
                audio_key=audio.key,
                bytes=audio.bytes,
                sha256=audio.sha256,
                created_at=now,
                run_at=now,
            )
            await queue.enqueue(session, job, 100)
        return job_id

    async def read(self, job_id: UUID) -> Transcription | None:
        async with self.database.transaction() as session:
            return await session.get(Transcription, job_id)

    async def until(self, job_id: UUID, condition: Callable[[Transcription], Any]) -> Transcription:
        """The row once it is as wanted; the test's time limit is ten seconds."""
        async with asyncio.timeout(10):
            with self.signals.subscribe(queue.changed(job_id)) as changed:
                while True:
                    changed.clear()
                    job = await self.read(job_id)
                    assert job is not None
                    if condition(job):
                        return job
                    await changed.wait()

    async def ended(self, job_id: UUID) -> Transcription:
        return await self.until(job_id, lambda job: job.completed_at)

    def audio_files(self) -> list[Path]:
        return [path for path in self.store.folder.rglob("*") if path.is_file()]


@asynccontextmanager
async def working(bench: Bench) -> AsyncIterator[None]:
    listening = asyncio.create_task(bench.signals.run())
    running = asyncio.create_task(bench.runner.run())
    try:
        yield
        await bench.runner.drain(0)
        await asyncio.wait_for(running, 10)
    finally:
        running.cancel()
        listening.cancel()
        await asyncio.gather(running, listening, return_exceptions=True)


def waits_after(attempts: int, job: Transcription) -> bool:
    return (job.status, job.attempts) == (Status.PENDING, attempts)


@pytest.fixture
def bench(database: Database, tmp_path: Path) -> Bench:
    return Bench(database, LocalAudioStore(tmp_path / "audio"), Signals(database), EngineDouble())


async def test_a_job_runs_from_claim_to_transcript_and_its_audio_is_erased(bench: Bench) -> None:
    async with working(bench):
        job = await bench.ended(await bench.enqueue(CALL.read_bytes()))
    assert (job.status, job.codec, job.sample_rate, job.channels) == (Status.COMPLETED, "pcm_mulaw", 8000, 2)
    assert job.duration == pytest.approx(57.67, abs=0.1)
    assert job.decoding_seconds is not None
    assert job.transcribing_seconds is not None
    assert len(bench.engine.given[0]) == 2
    assert not bench.engine.given[0][0].path.exists()
    assert bench.audio_files() == []
    async with bench.database.transaction() as session:
        assert await session.get(StoredTranscript, job.id) is not None


async def test_a_broken_recording_fails_with_its_code_at_the_first_attempt(bench: Bench) -> None:
    async with working(bench):
        job = await bench.ended(await bench.enqueue(b"RIFF\x00\x00\x00\x00WAVEnothing of the kind"))
    assert (job.status, job.error_code, job.attempts) == (Status.FAILED, "unsupported_media", 1)
    assert bench.audio_files() == []


async def test_a_failing_engine_is_tried_again_and_given_up(bench: Bench) -> None:
    bench.engine.error = RuntimeError("a fault")
    async with working(bench):
        job_id = await bench.enqueue(CALL.read_bytes())
        for attempt in range(1, MAX_TRIES):
            job = await bench.until(job_id, partial(waits_after, attempt))
            assert job.run_at > job.created_at
            assert bench.audio_files() != []
            async with bench.database.transaction() as session:
                due = update(Transcription).where(col(Transcription.id) == job_id).values(run_at=func.now())
                await session.exec(due)
                await notify(session, queue.PENDING)
        job = await bench.ended(job_id)
    assert (job.status, job.error_code, job.attempts) == (Status.FAILED, "transcription_failed", MAX_TRIES)
    assert job.error_message is not None
    assert "a fault" not in job.error_message


async def test_cancelling_a_running_job_stops_it(bench: Bench) -> None:
    bench.engine.hang = True
    async with working(bench):
        job_id = await bench.enqueue(CALL.read_bytes())
        await asyncio.wait_for(bench.engine.started.wait(), 10)
        async with bench.database.transaction() as session:
            await queue.request_cancel(session, job_id)
        job = await bench.ended(job_id)
    assert (job.status, job.error_code, job.progress) == (Status.CANCELLED, None, 0.5)
    assert not bench.engine.given[0][0].path.exists()
    assert bench.audio_files() == []


async def test_deleting_a_running_job_stops_it_and_leaves_nothing(bench: Bench) -> None:
    bench.engine.hang = True
    async with working(bench):
        job_id = await bench.enqueue(CALL.read_bytes())
        await asyncio.wait_for(bench.engine.started.wait(), 10)
        async with bench.database.transaction() as session:
            job = await queue.erase(session, job_id)
        assert job.audio_key is not None
        await bench.store.delete(job.audio_key)
        await asyncio.wait_for(bench.runner.idle(), 10)
    assert await bench.read(job_id) is None
    assert bench.audio_files() == []
    async with bench.database.transaction() as session:
        assert (await session.exec(select(StoredTranscript))).all() == []


async def test_draining_gives_running_jobs_back_without_counting_the_attempt(bench: Bench) -> None:
    bench.engine.hang = True
    async with working(bench):
        job_id = await bench.enqueue(CALL.read_bytes())
        await asyncio.wait_for(bench.engine.started.wait(), 10)
    job = await bench.read(job_id)
    assert job is not None
    assert (job.status, job.attempts, job.crashes, job.lease_token) == (Status.PENDING, 0, 0, None)
    assert bench.audio_files() != []
