"""The worker: claim → fetch → decode → transcribe → finish, and a heartbeat beside it."""

import asyncio
import time
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import chain, repeat
from uuid import UUID

import structlog

from app.database.connections import DATABASE_TROUBLE, Database
from app.database.notifications import Signals
from app.database.retries import Unbroken, despite_database_trouble, every, write_down
from app.errors import InsufficientStorage
from app.jobs import queue
from app.jobs.blame import ENGINE_FAILED, ROOM_PAUSE, STORE_PAUSE, outcome_of
from app.jobs.capacity import NO_ROOM, Pauses, Room, free_fetches, free_slots, one_of
from app.jobs.decoder import Decoder
from app.jobs.fitness import Fitness, in_words
from app.jobs.lifecycle import (
    MAX_CRASHES,
    MAX_HINDRANCES,
    AudioFacts,
    Cancelled,
    Crashed,
    Failed,
    Hindered,
    Interrupted,
    Outcome,
    Status,
    Succeeded,
    Timings,
)
from app.jobs.making_way import give_one_back
from app.jobs.models import Transcription, stored_options
from app.jobs.recordings import Recordings
from app.jobs.retention import Retention
from app.jobs.running import Running
from app.speech.batching.batcher import DeviceLost, EngineStopped
from app.speech.batching.fairness import Share
from app.speech.call.warnings import told_of_loss
from app.speech.engine import Transcriber

POLL_SECONDS = 2.0
BEAT_SECONDS = 5.0
FIRST_FINISH_PAUSES_SECONDS = (0.5, 1.0, 2.0, 4.0)
FINISH_PAUSE_SECONDS = 5.0

log = structlog.stdlib.get_logger("callscribe.jobs")


class JobRunner:
    """Runs up to SLOTS uploads at the same time, and as many fetched jobs; the engine batches their windows."""

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
        self._pauses = Pauses()
        self.fitness = Fitness(decoder.try_out)
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
        if not await self.fitness.may_claim():
            return
        slots, fetches = self._room()
        last_chance = all(running.job.crashes < MAX_CRASHES - 1 for running in self._running.values())
        async with self._database.transaction() as session:
            jobs = await queue.claim(session, self._worker, slots, fetches, last_chance=last_chance)
        for job in jobs:
            self._start(job, waiting)
        await self._make_way()

    def _room(self) -> tuple[Room, Room]:
        """How many jobs this worker may claim now: with a recording, and without one."""
        held = [running.held for running in self._running.values()]
        slots = free_slots(held, self._pauses, time.monotonic())
        fetches = free_fetches(held, self._pauses, time.monotonic())
        if not self.fitness.on_probation:
            return slots, fetches
        if any(running.shows_fitness for running in self._running.values()):
            return NO_ROOM, NO_ROOM
        return one_of(slots), NO_ROOM if slots.places else one_of(fetches)

    async def _make_way(self) -> None:
        """Give one job back where another key's job waits for its place: a more urgent one, or one to be fetched."""
        slots, fetches = self._room()
        async with self._database.transaction() as session:
            await give_one_back(session, list(self._running.values()), slots, fetches, time.monotonic())

    def _start(self, job: Transcription, waiting: asyncio.Event) -> None:
        assert job.lease_token is not None
        for earlier in self._running.values():
            if earlier.job.id == job.id:  # its lease ran out before a heartbeat could tell
                earlier.stop(None)
        with structlog.contextvars.bound_contextvars(job=str(job.id)):
            work = asyncio.create_task(self._work(job))
            stored, doubtful = job.audio_key is not None, self.fitness.on_probation
            running = Running(job, job.lease_token, stored, time.monotonic(), work, doubtful)
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
        if isinstance(outcome, Interrupted) and outcome.pause and not outcome.alone:
            kind = "stored" if running.came_with_recording else "fetched"
            self._pauses = replace(self._pauses, **{kind: time.monotonic() + STORE_PAUSE.total_seconds()})
        if isinstance(outcome, Succeeded):
            self.fitness.succeeded()
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
        except Exception as error:  # noqa: BLE001  judged by its kind
            return await self._judged(running.job, error)

    async def _judged(self, job: Transcription, error: Exception) -> Outcome:
        """The outcome of an attempt that raised `error`; and what that means for this worker."""
        if isinstance(error, EngineStopped | DeviceLost):  # no job can be done here any more
            self._engine_stopped = True
            self._draining.set()
        outcome = outcome_of(error)
        if outcome is None:
            log.error("attempt failed", exc_info=error)
            outcome = ENGINE_FAILED if await self.fitness.try_out() else Hindered()
        if isinstance(outcome, Hindered) and job.interruptions >= MAX_HINDRANCES and await self.fitness.try_out():
            log.warning("the job met trouble on workers that are fit, and may be its cause", error=in_words(error))
            outcome = Crashed()
        elif isinstance(outcome, Hindered):
            self.fitness.hindered(error)
        elif isinstance(error, InsufficientStorage) and await self._recordings.is_there_room():
            outcome = Interrupted(ROOM_PAUSE, alone=True)  # it, or what its server announces, is too large
        if isinstance(outcome, Interrupted):
            log.warning("the job goes back for a while", error=str(error))
        return outcome

    async def _work(self, job: Transcription) -> Outcome:
        """One job, in a straight line."""
        options = stored_options.validate_python(job.options)
        assert job.lease_token is not None
        key = await self._recordings.obtain(job)
        if key is None:
            return Interrupted()
        self._signals.wake(queue.PENDING)  # a place for fetching may be free
        share = Share(job.priority, job.caller)
        async with self._decoder.decoded(key, share, split=options.channels == "split") as decoded:
            audio, started = decoded.audio, time.monotonic()
            progress = partial(self._set_progress, job.lease_token)
            transcript = await self._transcriber.transcribe(audio.channels, options, progress, share)
            timings = Timings(decoded.seconds, time.monotonic() - started)
        facts = AudioFacts(audio.duration_seconds, audio.info.codec, audio.info.sample_rate, audio.info.channels)
        return Succeeded(told_of_loss(transcript, audio.announced_seconds), facts, timings)

    def _set_progress(self, token: UUID, progress: float) -> None:
        if token in self._running:
            self._running[token].progress = progress

    async def _finish(self, job: Transcription, outcome: Outcome) -> Status | None:
        """Write the outcome, however long the database is away: the heartbeat keeps the lease, and nothing is blamed.

        A repetition after a lost COMMIT reply finds the lease gone.
        """
        finish = partial(queue.finish, job=job, outcome=outcome, forget_audio=self._retention.forgets_audio)
        pauses = chain(FIRST_FINISH_PAUSES_SECONDS, repeat(FINISH_PAUSE_SECONDS))
        try:
            return await write_down(self._database, finish, pauses)
        except DATABASE_TROUBLE as error:
            log.warning("finish failed", error=type(error).__name__)
            return await self._finish(job, ENGINE_FAILED) if outcome is not ENGINE_FAILED else None

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
