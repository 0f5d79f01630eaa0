"""The worker on a real database and real recordings; an engine double stands in where an attempt has to go wrong."""

import asyncio
import errno
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import func
from sqlmodel import col, select, update
from uuid_utils.compat import uuid7

from app.audio.disk import FreeSpace
from app.audio.fetch import Fetcher, Pace
from app.audio.folder_store import LocalAudioStore
from app.audio.pcm import PcmFile
from app.audio.store import StoreUnavailable
from app.audio.web import WebSource
from app.audio.workspace import Workspace
from app.db import Database
from app.errors import BadMedia, InsufficientStorage
from app.jobs import decoder, erasure, queue, runner
from app.jobs.decoder import Decoder
from app.jobs.lifecycle import MAX_CRASHES, MAX_TRIES, Status
from app.jobs.models import StoredTranscript, Transcription, stored_options
from app.jobs.recordings import Recordings
from app.jobs.retention import Retention
from app.jobs.runner import PAUSE, ROOM_PAUSE, JobRunner
from app.network import NetworkGuard
from app.signals import Signals, notify
from app.speech.batcher import DeviceLost, EngineStopped
from app.speech.transcript import Options, Transcript, TranscriptWarning
from app.speech.turns import Share

CALL = Path(__file__).parents[2] / "samples" / "sample_call.wav"
SILENCE = Transcript(None, None, 1.0, (), ())


class EngineDouble:
    """Fails, hangs or succeeds as it is told; remembers what it was given."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.hang = False
        self.release = asyncio.Event()
        self.cancelled = 0
        self.result = SILENCE
        self.shares: list[Share] = []
        self.given: list[Sequence[PcmFile]] = []
        self.started = asyncio.Event()

    async def transcribe(
        self,
        channels: Sequence[PcmFile],
        options: Options,
        on_progress: Callable[[float], None],
        share: Share = Share(),  # noqa: B008  as frozen as the protocol's default
    ) -> Transcript:
        self.shares.append(share)
        self.given.append(channels)
        on_progress(0.5)
        self.started.set()
        if self.hang:
            try:
                await self.release.wait()
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
        if self.error is not None:
            raise self.error
        return self.result


@dataclass
class Clock:
    """In the place of `time` for a runner; it stands still."""

    seconds: float = 0.0

    def monotonic(self) -> float:
        return self.seconds


class Bench:
    """A runner at work, with what a test needs to watch it."""

    def __init__(self, database: Database, store: LocalAudioStore, signals: Signals, engine: EngineDouble) -> None:
        self.database = database
        self.store = store
        self.signals = signals
        self.engine = engine
        self.workspace = Workspace(store.folder.parent / "work")
        self.runner = self.new_runner()

    def new_runner(self) -> JobRunner:
        store, web = self.store, WebSource(NetworkGuard([ip_network("127.0.0.0/8")]), silence_seconds=30)
        fetcher = Fetcher(
            {"http": web}, store, FreeSpace((store.folder,), 0), max_bytes=2_000_000, pace=Pace(deadline_seconds=60)
        )
        return JobRunner(
            self.database,
            self.signals,
            Recordings(self.database, store, fetcher),
            Decoder(store, self.workspace, max_audio_seconds=600),
            self.engine,
            Retention(self.database, store),
            worker="test",
        )

    async def enqueue(self, content: bytes) -> UUID:
        job_id = uuid7()

        async def stream() -> AsyncIterator[bytes]:
            yield content

        audio = await self.store.save(str(job_id), stream(), len(content))
        return await self.add(job_id, source="upload", audio_key=audio.key, bytes=audio.bytes, sha256=audio.sha256)

    async def add(self, job_id: UUID, **audio: Any) -> UUID:
        """A waiting job with these columns of its recording."""
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
                created_at=now,
                run_at=now,
                **audio,
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

    async def hurry(self, job_id: UUID) -> None:
        """Let a job be claimed that waits for its next try."""
        async with self.database.transaction() as session:
            due = update(Transcription).where(col(Transcription.id) == job_id).values(run_at=func.now())
            await session.exec(due)
            await notify(session, queue.PENDING)

    def audio_files(self) -> list[Path]:
        return [path for path in self.store.folder.rglob("[!.]*") if path.is_file()]


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


async def test_a_job_runs_from_claim_to_transcript_and_its_audio_is_erased(bench: Bench) -> None:
    async with working(bench):
        job = await bench.ended(await bench.enqueue(CALL.read_bytes()))
    assert (job.status, job.codec, job.sample_rate, job.channels) == (Status.COMPLETED, "pcm_mulaw", 8000, 2)
    assert job.duration == pytest.approx(57.67, abs=0.1)
    assert job.decoding_seconds is not None
    assert job.transcribing_seconds is not None
    assert len(bench.engine.given[0]) == 2
    assert bench.engine.shares == [Share(priority=5, owner="test")]
    assert not bench.engine.given[0][0].path.exists()
    assert bench.audio_files() == []
    async with bench.database.transaction() as session:
        assert await session.get(StoredTranscript, job.id) is not None


async def test_a_recording_that_broke_off_is_transcribed_with_a_warning(bench: Bench) -> None:
    whole = CALL.read_bytes()
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


async def test_a_failing_engine_is_tried_again_and_given_up(bench: Bench) -> None:
    bench.engine.error = RuntimeError("a fault")
    async with working(bench):
        job_id = await bench.enqueue(CALL.read_bytes())
        for attempt in range(1, MAX_TRIES):
            job = await bench.until(job_id, partial(waits_after, attempt))
            assert job.run_at > job.created_at
            assert bench.audio_files() != []
            await bench.hurry(job_id)
        job = await bench.ended(job_id)
    assert (job.status, job.error_code, job.attempts) == (Status.FAILED, "transcription_failed", MAX_TRIES)
    assert job.error_message is not None
    assert "a fault" not in job.error_message


async def test_a_job_waits_while_the_store_is_away_and_no_attempt_is_counted(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    @asynccontextmanager
    async def away(key: str) -> AsyncIterator[Path]:
        raise StoreUnavailable("the bucket cannot be used: no answer")
        yield Path(key)

    monkeypatch.setattr(bench.store, "local_path", away)
    async with working(bench):
        job_id = await bench.enqueue(CALL.read_bytes())
        job = await bench.until(job_id, lambda job: job.started_at and waits_after(0, job))
    assert job.run_at >= job.created_at + PAUSE
    assert job.error_code is None
    assert bench.audio_files() != []


async def test_jobs_outlast_a_folder_that_is_away(bench: Bench, clock: Clock) -> None:
    folder, elsewhere = bench.store.folder, bench.store.folder.with_name("unmounted")
    jobs = [await bench.enqueue(CALL.read_bytes())]
    jobs.append(await bench.add(uuid7(), source="http://127.0.0.1:9/call.wav"))
    folder.rename(elsewhere)
    async with working(bench):
        for job_id in jobs:
            waiting = await bench.until(job_id, lambda job: job.started_at and waits_after(0, job))
            assert (waiting.error_code, waiting.crashes) == (None, 0)
            assert waiting.run_at >= waiting.created_at + PAUSE
        elsewhere.rename(folder)
        clock.seconds += PAUSE.total_seconds()
        await bench.hurry(jobs[0])
        assert (await bench.ended(jobs[0])).status == Status.COMPLETED


async def test_a_folder_that_goes_away_while_it_is_read_is_not_blamed_on_the_recording(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def while_unmounting(path: Path, *_: Any, **__: Any) -> None:
        bench.store.folder.rename(bench.store.folder.with_name("unmounted"))
        raise BadMedia

    monkeypatch.setattr(decoder, "decode", while_unmounting)
    async with working(bench):
        job_id = await bench.enqueue(CALL.read_bytes())
        job = await bench.until(job_id, lambda job: job.started_at and waits_after(0, job))
    assert job.error_code is None


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
            job = await erasure.erase(session, job_id)
        assert job.audio_key is not None
        await bench.store.delete(job.audio_key)
        await asyncio.wait_for(bench.runner.idle(), 10)
    assert await bench.read(job_id) is None
    assert bench.audio_files() == []
    async with bench.database.transaction() as session:
        assert (await session.exec(select(StoredTranscript))).all() == []


async def test_a_job_lost_and_claimed_again_by_the_same_process_is_at_work_once(bench: Bench) -> None:
    bench.engine.hang = True
    async with working(bench):
        job_id = await bench.enqueue(CALL.read_bytes())
        await asyncio.wait_for(bench.engine.started.wait(), 10)
        first = await bench.read(job_id)
        assert first is not None
        bench.engine.started.clear()
        async with bench.database.transaction() as session:
            gone = func.now() - timedelta(seconds=1)
            await session.exec(update(Transcription).where(col(Transcription.id) == job_id).values(lease_until=gone))
            await queue.requeue_lost(session)
        await asyncio.wait_for(bench.engine.started.wait(), 10)
        bench.engine.release.set()
        job = await bench.ended(job_id)
    assert (job.status, job.attempts, job.crashes) == (Status.COMPLETED, 2, 1)
    assert bench.engine.cancelled == 1


async def test_a_recording_whose_batch_broke_the_device_counts_a_crash(bench: Bench) -> None:
    bench.engine.error = DeviceLost()
    job_id = await bench.enqueue(CALL.read_bytes())
    for _ in range(MAX_CRASHES):
        with pytest.raises(EngineStopped):
            await asyncio.wait_for(bench.new_runner().run(), 20)
    job = await bench.ended(job_id)
    assert (job.status, job.error_code, job.attempts, job.crashes) == (Status.FAILED, "worker_crashed", 3, 3)


async def test_a_worker_whose_engine_stopped_ends_without_claiming_again(bench: Bench) -> None:
    bench.engine.error = EngineStopped()
    job_id = await bench.enqueue(CALL.read_bytes())
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
        job_id = await bench.enqueue(CALL.read_bytes())
        job = await bench.until(job_id, partial(waits_after, 1))
    assert job.run_at > job.created_at
    logged = "".join(capsys.readouterr())
    assert "finish failed" in logged
    assert secret not in logged


async def test_a_lost_reply_to_the_commit_of_the_end_leaves_no_recording(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish, calls = queue.finish, 0

    async def commit_and_lose_the_reply(session: Any, job: Transcription, outcome: Any, **how: Any) -> Status | None:
        nonlocal calls
        calls += 1
        status = await finish(session, job, outcome, **how)
        if calls == 1:
            await session.commit()
            raise ConnectionResetError
        return status

    monkeypatch.setattr(queue, "finish", commit_and_lose_the_reply)
    async with working(bench):
        job = await bench.ended(await bench.enqueue(CALL.read_bytes()))
        await asyncio.wait_for(bench.runner.idle(), 10)
    assert (job.status, calls) == (Status.COMPLETED, 2)
    assert bench.audio_files() == []


async def test_a_job_claimed_while_draining_goes_back(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    claim = queue.claim

    async def drain_meanwhile(session: Any, worker: str, slots: int, **how: Any) -> Any:
        jobs = await claim(session, worker, slots, **how)
        if jobs:
            await bench.runner.drain(0)
        return jobs

    monkeypatch.setattr(queue, "claim", drain_meanwhile)
    bench.engine.hang = True
    async with working(bench):
        job_id = await bench.enqueue(CALL.read_bytes())
        job = await bench.until(job_id, lambda job: job.started_at and job.status == Status.PENDING)
    assert (job.attempts, job.crashes) == (0, 0)


async def test_a_stopped_job_shows_signs_of_life_until_its_end_is_written(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "BEAT_SECONDS", 0.05)
    finish, heartbeat = queue.finish, queue.heartbeat
    written, asked, beaten = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def beat(session: Any, beats: Any) -> Any:
        alive = await heartbeat(session, beats)
        if asked.is_set() and alive:
            beaten.set()
        return alive

    async def finish_late(session: Any, job: Transcription, outcome: Any, **how: Any) -> Any:
        asked.set()
        await written.wait()
        return await finish(session, job, outcome, **how)

    monkeypatch.setattr(queue, "finish", finish_late)
    monkeypatch.setattr(queue, "heartbeat", beat)
    bench.engine.hang = True
    async with working(bench):
        job_id = await bench.enqueue(CALL.read_bytes())
        await asyncio.wait_for(bench.engine.started.wait(), 10)
        await bench.runner.drain(0)
        await asyncio.wait_for(asked.wait(), 10)
        await asyncio.wait_for(beaten.wait(), 10)
        written.set()
    job = await bench.read(job_id)
    assert job is not None
    assert (job.status, job.attempts, job.crashes) == (Status.PENDING, 0, 0)


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "no space left"), InsufficientStorage()])
async def test_a_full_disk_postpones_a_job(bench: Bench, error: Exception) -> None:
    bench.engine.error = error
    async with working(bench):
        job_id = await bench.enqueue(CALL.read_bytes())
        job = await bench.until(job_id, lambda job: job.run_at > job.created_at)
    assert (job.status, job.attempts, job.error_code) == (Status.PENDING, 0, None)
    assert job.run_at >= job.created_at + ROOM_PAUSE
    assert bench.audio_files() != []


def test_what_a_dead_process_left_decoded_is_erased(tmp_path: Path) -> None:
    left = tmp_path / "left"
    left.mkdir()
    (left / "channel-0.pcm").write_bytes(b"speech")
    alive = Workspace(tmp_path)
    with alive.folder() as folder:
        (Path(folder) / "channel-0.pcm").write_bytes(b"speech")
        Workspace(tmp_path).close()
        assert not left.exists()
        assert (Path(folder) / "channel-0.pcm").exists()
    alive.close()
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


async def test_draining_gives_running_jobs_back_without_counting_the_attempt(bench: Bench) -> None:
    bench.engine.hang = True
    async with working(bench):
        job_id = await bench.enqueue(CALL.read_bytes())
        await asyncio.wait_for(bench.engine.started.wait(), 10)
    job = await bench.read(job_id)
    assert job is not None
    assert (job.status, job.attempts, job.crashes, job.lease_token) == (Status.PENDING, 0, 0, None)
    assert bench.audio_files() != []
