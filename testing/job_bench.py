"""A worker on a real database and real recordings, with an engine double that fails or hangs when a test sets it to."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import func
from sqlmodel import col, update
from uuid_utils.compat import uuid7

from app.audio.pcm import PcmFile
from app.database.connections import Database
from app.database.notifications import Signals, notify
from app.jobs.changes import changing
from app.jobs.changes.queue_limit import QueueLimit
from app.jobs.lifecycle import Status
from app.jobs.models import NewJob, Transcription
from app.jobs.topics import PENDING_TOPIC, changed_topic
from app.jobs.upkeep.retention import Retention
from app.jobs.worker.recording import Decoder, Recordings
from app.jobs.worker.runner import JobRunner
from app.network.guard import NetworkGuard
from app.process.places import Rank
from app.sources.fetch import Fetcher, Pace
from app.sources.web import WebSource
from app.speech.call.final_text import FinalText
from app.speech.reports import OnFinal
from app.storage.disk import FreeSpace
from app.storage.folder_store import LocalAudioStore
from app.storage.workspace import Workspace
from app.transcripts.transcript import Options, Transcript
from testing.files import files_in
from testing.rows import FORGET_AUDIO, KEEP_AUDIO

PATIENCE_SECONDS = 60  # on a machine that does much else
SILENCE = Transcript(None, None, 1.0, (), ())


class EngineDouble:
    """Fails, hangs or succeeds as a test has set it. Records the arguments of each call."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.hang = False
        self.release = asyncio.Event()
        self.cancelled = 0
        self.result = SILENCE
        self.final: Sequence[FinalText] = ()
        self.reports_to: list[OnFinal | None] = []
        self.ranks: list[Rank] = []
        self.given: list[Sequence[PcmFile]] = []
        self.started = asyncio.Event()
        self.away: dict[str, str] = {}

    @property
    def troubles(self) -> Mapping[str, str]:
        return dict(self.away)

    async def transcribe(
        self,
        channels: Sequence[PcmFile],
        options: Options,
        on_progress: Callable[[float], None],
        rank: Rank = Rank(),  # noqa: B008  frozen, as in the protocol
        on_final: OnFinal | None = None,
    ) -> Transcript:
        self.ranks.append(rank)
        self.given.append(channels)
        self.reports_to.append(on_final)
        on_progress(0.5)
        if on_final is not None:
            for text in self.final:
                on_final(text)
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
    """Replaces the module `time` in a runner. Its time changes only when a test sets `seconds`."""

    seconds: float = 0.0

    def monotonic(self) -> float:
        return self.seconds


class Bench:
    """A runner, with everything that a test needs to give it jobs and to observe it."""

    def __init__(self, database: Database, store: LocalAudioStore, signals: Signals, engine: EngineDouble) -> None:
        self.database = database
        self.store = store
        self.signals = signals
        self.engine = engine
        self.workspace = Workspace(store.folder.parent / "work")
        self.free_space = FreeSpace((store.folder,), 0)
        self.space_to_fetch = FreeSpace((store.folder,), 0)
        self.keep_audio_days = 0
        self.models: Sequence[str] | None = None
        self.remote: Sequence[str] = ()
        self.runner = self.new_runner()

    def new_runner(self) -> JobRunner:
        store, web = self.store, WebSource(NetworkGuard([ip_network("127.0.0.0/8")]), silence_seconds=30)
        fetcher = Fetcher(
            {"http": web}, store, self.space_to_fetch, max_bytes=2_000_000, pace=Pace(deadline_seconds=60)
        )
        decoder = Decoder(store, self.workspace, self.free_space, max_audio_seconds=600)
        return JobRunner(
            self.database,
            self.signals,
            Recordings(self.database, store, fetcher, decoder),
            self.engine,
            Retention(self.database, store, keep_audio_days=self.keep_audio_days),
            KEEP_AUDIO if self.keep_audio_days else FORGET_AUDIO,
            worker="test",
            models=self.models,
            remote=self.remote,
        )

    async def enqueue(self, content: bytes, **columns: Any) -> UUID:
        job_id = uuid7()

        async def stream() -> AsyncIterator[bytes]:
            yield content

        audio = await self.store.save(str(job_id), stream(), len(content))
        facts = {"audio_key": audio.key, "bytes": audio.bytes, "sha256": audio.sha256}
        return await self.add(job_id, source="upload", **facts, **columns)

    async def add(self, job_id: UUID, **columns: Any) -> UUID:
        """Adds a waiting job with these columns, and returns its id."""
        async with self.database.transaction() as session:
            values: dict[str, Any] = {
                "id": job_id,
                "caller": "test",
                "fingerprint": "f",
                "options": Options(model="base", channels="split"),
                "priority": 5,
            }
            await changing.enqueue(session, NewJob(**(values | columns)), QueueLimit(100))
        return job_id

    async def read(self, job_id: UUID) -> Transcription | None:
        async with self.database.transaction() as session:
            return await session.get(Transcription, job_id)

    async def until(self, job_id: UUID, condition: Callable[[Transcription], Any]) -> Transcription:
        """Waits until the row meets the condition, and returns it. Raises TimeoutError if that takes too long."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            with self.signals.subscribe(changed_topic(job_id)) as changed:
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
        """Ends a job's wait for its next try, so that it can be claimed immediately."""
        async with self.database.transaction() as session:
            due = update(Transcription).where(col(Transcription.id) == job_id).values(run_at=func.now())
            await session.exec(due)
            await notify(session, PENDING_TOPIC)

    def audio_files(self) -> list[Path]:
        return files_in(self.store.folder)


@asynccontextmanager
async def working(bench: Bench) -> AsyncIterator[None]:
    listening = asyncio.create_task(bench.signals.run())
    running = asyncio.create_task(bench.runner.run())
    try:
        yield
        await bench.runner.drain(0)
        await asyncio.wait_for(running, PATIENCE_SECONDS)
    finally:
        left = [running, listening, *bench.runner._loop._recording]  # jobs would go on in the tests after this one
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)


def waits_after(attempts: int, job: Transcription) -> bool:
    return (job.status, job.attempts) == (Status.PENDING, attempts)
