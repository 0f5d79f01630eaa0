"""The worker: claim → fetch → decode → transcribe → finish, and a heartbeat beside it."""

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from uuid import UUID

import structlog

from app.audio.disk import is_disk_full
from app.audio.store import StoreUnavailable
from app.db import DATABASE_TROUBLE, Database, is_refusal
from app.errors import AppError, InsufficientStorage, TranscriptionFailed
from app.jobs import queue
from app.jobs.decoder import Decoder
from app.jobs.lifecycle import (
    MAX_CRASHES,
    AudioFacts,
    Cancelled,
    Crashed,
    Failed,
    Interrupted,
    Outcome,
    Status,
    Succeeded,
    Timings,
)
from app.jobs.models import Transcription, stored_options
from app.jobs.places import Rest, Taken, free_places
from app.jobs.recordings import NotWritten, Recordings
from app.jobs.retention import Retention
from app.rhythm import Unbroken, despite_database_trouble, every, write_down
from app.signals import Signals
from app.speech.batcher import DeviceLost, EngineStopped
from app.speech.engine import Transcriber
from app.speech.notices import told_of_loss
from app.speech.turns import Share

POLL_SECONDS = 2.0
BEAT_SECONDS = 5.0
PAUSE = timedelta(seconds=30)  # for what a worker lacks for a while: for the job, and for the worker
ROOM_PAUSE = timedelta(minutes=5)  # for a disk to be cleared, as finding it full may have cost a whole download
FINISH_PAUSES_SECONDS = (0.5, 1.0, 2.0, 4.0, 8.0)
ENGINE_FAILED = Failed(TranscriptionFailed.code, TranscriptionFailed.title, transient=True)

log = structlog.stdlib.get_logger("callscribe.jobs")


@dataclass
class Running:
    """A claimed job at work. Once `stopped`, it ends with `outcome`, or with nothing when the lease is lost."""

    job: Transcription
    token: UUID
    came_with_recording: bool
    work: asyncio.Task[Outcome]
    progress: float = 0.0
    stopped: bool = False
    outcome: Outcome | None = None

    def stop(self, outcome: Outcome | None) -> None:
        if not self.stopped:
            self.stopped, self.outcome = True, outcome
            self.work.cancel()


class JobRunner:
    """Runs up to SLOTS uploads at once, and as many fetched jobs; the engine batches their windows together."""

    def __init__(
        self,
        database: Database,
        signals: Signals,
        recordings: Recordings,
        decoder: Decoder,
        transcriber: Transcriber,
        retention: Retention,
        *,
        worker: str,
    ) -> None:
        self._database = database
        self._signals = signals
        self._recordings = recordings
        self._decoder = decoder
        self._transcriber = transcriber
        self._retention = retention
        self._worker = worker
        self._running: dict[UUID, Running] = {}  # by lease token: a job that was lost may be claimed here again
        self._draining = asyncio.Event()
        self._engine_stopped = False
        self._rest = Rest()
        self._contact = Unbroken()
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Work until `drain` was called and the running jobs have ended. Raises EngineStopped where that ended it."""
        async with asyncio.TaskGroup() as group:
            beating = group.create_task(every(BEAT_SECONDS, self._beat))
            await self._claim_until_drained()
            await self.idle()
            beating.cancel()
        if self._engine_stopped:
            raise EngineStopped("the engine stopped working")

    async def drain(self, grace_seconds: float) -> None:
        """Claim no more; let running jobs end within the grace, then give the rest back without a penalty."""
        self._draining.set()
        self._signals.wake(queue.PENDING)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=grace_seconds)
        for running in self._running.values():
            running.stop(Interrupted())

    async def idle(self) -> None:
        """Wait until no job is running."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _claim_until_drained(self) -> None:
        with self._signals.subscribe(queue.PENDING) as waiting:
            while not self._draining.is_set():
                waiting.clear()
                await despite_database_trouble(partial(self._claim, waiting))
                with suppress(TimeoutError):
                    await asyncio.wait_for(waiting.wait(), POLL_SECONDS)

    async def _claim(self, waiting: asyncio.Event) -> None:
        free = free_places(self._taken(), self._rest, time.monotonic())
        if not (free.slots or free.fetches):
            return
        last_chance = all(running.job.crashes < MAX_CRASHES - 1 for running in self._running.values())
        async with self._database.transaction() as session:
            jobs = await queue.claim(session, self._worker, free.slots, fetches=free.fetches, last_chance=last_chance)
        for job in jobs:
            self._start(job, waiting)

    def _taken(self) -> Taken:
        stored = sum(running.came_with_recording for running in self._running.values())
        fetching = sum(running.job.audio_key is None for running in self._running.values())
        return Taken(stored, len(self._running) - stored - fetching, fetching)

    def _start(self, job: Transcription, waiting: asyncio.Event) -> None:
        assert job.lease_token is not None
        for earlier in self._running.values():
            if earlier.job.id == job.id:  # its lease ran out before a heartbeat could tell
                earlier.stop(None)
        with structlog.contextvars.bound_contextvars(job=str(job.id)):
            work = asyncio.create_task(self._work(job))
            running = Running(job, job.lease_token, job.audio_key is not None, work)
            self._running[running.token] = running
            task = asyncio.create_task(self._attend(running))
        self._tasks.add(task)
        if self._draining.is_set():  # the claim was under way when the order came
            running.stop(Interrupted())

        def ended(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            del self._running[running.token]
            waiting.set()
            if not task.cancelled() and (error := task.exception()) is not None:
                log.error("job could not be finished", job=str(job.id), exc_info=error)

        task.add_done_callback(ended)

    async def _attend(self, running: Running) -> None:
        """Wait for a job's work, or for what stops it, and write down how it ended."""
        job = running.job
        with self._signals.subscribe(queue.cancelled(job.id)) as cancelled:
            watch = asyncio.create_task(self._beat_on(cancelled))
            try:
                outcome = await self._outcome(running)
            finally:
                watch.cancel()
        if isinstance(outcome, Interrupted) and outcome.pause:
            line = "stored" if running.came_with_recording else "fetched"
            self._rest = replace(self._rest, **{line: time.monotonic() + PAUSE.total_seconds()})
        status = None
        if outcome is None:
            log.warning("lease lost; nothing written")
        else:
            status = await self._finish(job, outcome)
            reason = outcome.message if isinstance(outcome, Failed) else None
            log.info(
                "attempt ended", status=status, outcome=type(outcome).__name__, reason=reason, attempts=job.attempts
            )
        if self._retention.forgets_audio and await self._is_over(job, status):
            await self._retention.erase_audio(job.id, job.audio_key)

    async def _beat_on(self, cancelled: asyncio.Event) -> None:
        while True:
            await cancelled.wait()
            cancelled.clear()
            await despite_database_trouble(self._heartbeat)

    async def _outcome(self, running: Running) -> Outcome | None:
        try:
            return await running.work
        except asyncio.CancelledError:
            if not running.stopped:
                raise
            return running.outcome
        except (EngineStopped, DeviceLost) as error:  # no job can be done here any more
            self._engine_stopped = True
            self._draining.set()
            return Crashed() if isinstance(error, DeviceLost) else Interrupted()
        except (StoreUnavailable, NotWritten) as error:
            log.warning("recording not to be had at the moment", error=str(error))
            return Interrupted(PAUSE)
        except InsufficientStorage as error:
            return _wait_for_room(error)
        except AppError as error:
            return Failed(error.code, error.detail, error.transient)
        except Exception as error:
            if is_disk_full(error):
                return _wait_for_room(error)
            log.exception("attempt failed")
            return ENGINE_FAILED

    async def _work(self, job: Transcription) -> Outcome:
        """One job, in a straight line."""
        options = stored_options.validate_python(job.options)
        assert job.lease_token is not None
        key = await self._recordings.obtain(job)
        if key is None:
            return Interrupted()
        self._signals.wake(queue.PENDING)  # a place for fetching may be free
        async with self._decoder.decoded(key, split=options.channels == "split") as decoded:
            audio, started = decoded.audio, time.monotonic()
            progress = partial(self._set_progress, job.lease_token)
            share = Share(job.priority, job.caller)
            transcript = await self._transcriber.transcribe(audio.channels, options, progress, share)
            timings = Timings(decoded.seconds, time.monotonic() - started)
        facts = AudioFacts(audio.duration_seconds, audio.info.codec, audio.info.sample_rate, audio.info.channels)
        return Succeeded(told_of_loss(transcript, audio.announced_seconds), facts, timings)

    def _set_progress(self, token: UUID, progress: float) -> None:
        if token in self._running:
            self._running[token].progress = progress

    async def _finish(self, job: Transcription, outcome: Outcome) -> Status | None:
        """Write the outcome, through connection loss. A repetition after a lost COMMIT reply finds the lease gone."""
        finish = partial(queue.finish, job=job, outcome=outcome, forget_audio=self._retention.forgets_audio)
        try:
            return await write_down(self._database, finish, FINISH_PAUSES_SECONDS)
        except DATABASE_TROUBLE as error:
            log.warning("finish failed", error=type(error).__name__, refused=is_refusal(error))
            if is_refusal(error) and outcome is not ENGINE_FAILED:
                return await self._finish(job, ENGINE_FAILED)
            return None

    async def _is_over(self, job: Transcription, status: Status | None) -> bool:
        """Whether the job has ended; where its end could not be seen written, the row tells."""
        if status is not None:
            return status.final
        try:
            async with self._database.transaction() as session:
                return await queue.is_over(session, job.id)
        except DATABASE_TROUBLE:
            return False

    async def _beat(self) -> None:
        """Show signs of life, and only then look for those who show none."""
        await self._heartbeat()
        async with self._database.transaction() as session:
            await queue.now(session)
            if self._contact.seconds(time.monotonic(), 2.5 * BEAT_SECONDS) < 0.9 * BEAT_SECONDS:
                return  # where the database was away, all leases have run out: everybody gets the time to come back
            closed = await queue.requeue_lost(session, forget_audio=self._retention.forgets_audio)
        for each in closed:
            log.warning("job given up", job=str(each.job.id), status=each.job.status, crashes=each.job.crashes)
            await self._retention.erase_audio(each.job.id, each.forgotten_audio)

    async def _heartbeat(self) -> None:
        """One statement for all jobs: extend leases, write progress, hear of cancellations.

        Stopped jobs too: until their end is written, they are not to be taken for lost.
        """
        beats = [queue.Beat(running.job.id, running.token, running.progress) for running in self._running.values()]
        if not beats:
            return
        async with self._database.transaction() as session:
            alive = await queue.heartbeat(session, beats)
        for beat in beats:
            running = self._running.get(beat.token)
            if running is None or running.work.done():
                continue
            if beat.id not in alive:
                running.stop(None)
            elif alive[beat.id]:
                running.stop(Cancelled())


def _wait_for_room(error: Exception) -> Interrupted:
    log.warning("no room for the recording; the job waits", error=str(error))
    return Interrupted(ROOM_PAUSE)
