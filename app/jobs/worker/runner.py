"""The worker: it claims jobs, fetches, decodes and transcribes their recordings, and records how each attempt ended."""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import chain, repeat

import structlog
from uuid_utils.compat import uuid7

from app import tracing
from app.access.callers import tenant_of
from app.audio.pcm import PcmFile
from app.control.models import WorkerState
from app.database.connections import DATABASE_TROUBLE, Database
from app.database.notifications import Signals
from app.database.retries import write_down
from app.database.work import WorkLoop
from app.errors import InsufficientStorage
from app.jobs.claims import queue
from app.jobs.claims.capacity import Capacity, Pauses, free_fetches, free_slots, groups_of_models, of_models
from app.jobs.claims.claiming import Claimed
from app.jobs.claims.ending import AtEnd, Written
from app.jobs.lifecycle import (
    MAX_CRASHES,
    MAX_HINDRANCES,
    AudioFacts,
    Crashed,
    Hindered,
    Interrupted,
    Outcome,
    Redaction,
    SlowFetch,
    Succeeded,
    Timings,
)
from app.jobs.models import audio_keys, stored_options
from app.jobs.topics import PENDING_TOPIC, cancelled_topic
from app.jobs.upkeep import erasure
from app.jobs.upkeep.retention import Retention
from app.jobs.worker import story
from app.jobs.worker.blame import DISK_FULL, ENGINE_FAILED, STORE_PAUSE, outcome_of
from app.jobs.worker.fitness import Fitness, in_words
from app.jobs.worker.heartbeat import Heartbeat
from app.jobs.worker.making_way import who_makes_way
from app.jobs.worker.part_writer import reported_text
from app.jobs.worker.recording import NotWritten, Recordings
from app.jobs.worker.redacting import as_asked, heard_with, redacted, save_silenced
from app.jobs.worker.running import LeaseLost, Running
from app.process.places import Rank
from app.process.shares import Shares
from app.process.tasks import within
from app.speech.batching.batcher import EngineStopped
from app.speech.call.warnings import with_losses
from app.speech.engine import Transcriber
from app.speech.model import DeviceLost
from app.transcripts.transcript import Options, Transcript

FIRST_FINISH_PAUSES_SECONDS = (0.5, 1.0, 2.0, 4.0)
FINISH_PAUSE_SECONDS = 5.0

log = structlog.stdlib.get_logger("callscribe.jobs")


class JobRunner:
    """Runs up to SLOTS jobs with a stored recording at the same time, and as many whose recording must be fetched.

    The engine batches the windows of all of them. Only jobs of `models` are claimed; None means all models. Other
    servers run those of `remote`.
    """

    def __init__(
        self,
        database: Database,
        signals: Signals,
        recordings: Recordings,
        transcriber: Transcriber,
        retention: Retention,
        at_end: AtEnd,
        *,
        worker: str,
        models: Sequence[str] | None = None,
        remote: Sequence[str] = (),
        shares: Shares | None = None,
    ) -> None:
        self._database = database
        self._signals = signals
        self._recordings = recordings
        self._transcriber = transcriber
        self._retention = retention
        self._at_end = at_end
        self._worker = worker
        self._models = models
        self._remote = remote
        self._shares = shares or Shares()
        self._loop = WorkLoop[Running, Outcome | LeaseLost](
            signals, PENDING_TOPIC, claim=self._claim, run=self._run, record=self._record
        )
        self._engine_stopped = False
        self._resting: asyncio.Task[None] | None = None
        self._pauses = Pauses()
        self.fitness = Fitness(recordings.decoder.try_out)
        self._heartbeat = Heartbeat(database, retention, at_end, running=lambda: self._loop.running, stop=self._stop)

    async def run(self) -> None:
        """Work until `drain` is called and the running jobs have ended. Raises EngineStopped if the engine stopped."""
        async with asyncio.TaskGroup() as group:
            beating = group.create_task(self._heartbeat.run())
            await self._loop.work()
            beating.cancel()
        if self._engine_stopped:
            raise EngineStopped("the engine stopped working")

    @property
    def state(self) -> WorkerState:
        if self._resting is None:
            return WorkerState.WORKING
        return WorkerState.DRAINED if self._resting.done() and not self._loop.running else WorkerState.DRAINING

    def rest(self, grace_seconds: float) -> None:
        """Claim no more jobs until `work_again`. Those that run after the grace return to the queue, uncounted."""
        if self._resting is not None:
            self._resting.cancel()
        self._resting = asyncio.create_task(self._come_to_rest(grace_seconds))

    async def _come_to_rest(self, grace_seconds: float) -> None:
        with suppress(TimeoutError):
            await within(grace_seconds, self._loop.idle())
        for running in self._loop.running:
            self._stop(running, Interrupted())

    def work_again(self) -> None:
        if self._resting is not None:
            self._resting.cancel()
        self._resting = None
        self._signals.wake(PENDING_TOPIC)

    async def drain(self, grace_seconds: float) -> None:
        """Claim no more jobs. Jobs that still run after the grace return to the queue without a counted attempt."""
        await self._loop.drain(grace_seconds)

    async def idle(self) -> None:
        """Wait until no job is running."""
        await self._loop.idle()

    async def _claim(self) -> list[Running]:
        if self._resting is not None or not await self.fitness.may_claim():
            return []
        await self._make_way()
        claimed: list[Running] = []
        for models, most in self._groups():
            claimed += await self._claim_of(models, most, claimed)
        return claimed

    def _groups(self) -> list[tuple[Sequence[str] | None, int]]:
        held = Counter(str(running.job.options.get("model")) for running in self._loop.running)
        return groups_of_models(self._usable_models, self._remote, held)

    def _models_with_places(self) -> Sequence[str] | None:
        """The models of the groups that may have more jobs. For a job of another model, nobody needs to make way."""
        groups = self._groups()
        if any(models is None for models, _ in groups):
            return None
        return [model for models, most in groups if models and most > 0 for model in models]

    @property
    def _usable_models(self) -> Sequence[str] | None:
        """The models whose jobs this worker may claim now."""
        troubles = self._transcriber.troubles
        return None if self._models is None else [model for model in self._models if model not in troubles]

    async def _claim_of(self, models: Sequence[str] | None, most: int, claimed: Sequence[Running]) -> list[Running]:
        """Claim at most so many jobs of some models. `claimed` were claimed just before, and do not run yet."""
        slots, fetches = self._capacity(claimed)
        running = self._loop.running
        last_chance = all(each.job.crashes < MAX_CRASHES - 1 for each in (*running, *claimed))
        async with self._database.transaction() as session:
            jobs = await queue.claim(
                session,
                self._worker,
                of_models(slots, models, most),
                of_models(fetches, models, most),
                most=self._most_claims(claimed),
                last_chance=last_chance,
            )
        ids = {job.id for job in jobs}
        for earlier in running:
            if earlier.job.id in ids:  # its lease ran out, and no heartbeat has noticed yet
                self._stop(earlier, LeaseLost())
        return [Running(job, time.monotonic(), shows_fitness=self.fitness.on_probation) for job in jobs]

    def _capacity(self, claimed: Sequence[Running] = ()) -> tuple[Capacity, Capacity]:
        """How many jobs this worker may claim now, of whatever model: with a recording, and without one."""
        held = [running.held for running in (*self._loop.running, *claimed)]
        slots = free_slots(held, self._pauses, time.monotonic(), self._shares)
        fetches = free_fetches(held, self._pauses, time.monotonic(), self._shares)
        return slots, fetches

    def _most_claims(self, claimed: Sequence[Running]) -> int | None:
        """On probation, the worker runs one job at a time, of either kind, until one succeeds. Otherwise no limit."""
        if not self.fitness.on_probation:
            return None
        return 0 if any(running.shows_fitness for running in (*self._loop.running, *claimed)) else 1

    async def _make_way(self) -> None:
        """If a job of another key should have the place of a running job, return that one to the queue."""
        slots, fetches = self._capacity()
        if self.fitness.on_probation or not (slots.is_full_for_some or fetches.is_full_for_some):
            return  # on probation, the worker would not claim the other job
        models = self._models_with_places()
        slots, fetches = replace(slots, models=models), replace(fetches, models=models)
        async with self._database.transaction() as session:
            leaving = await who_makes_way(session, self._loop.running, slots, fetches, time.monotonic())
        slots, fetches = self._capacity()  # meanwhile, a place may have become free
        for running, outcome in leaving:
            capacity = slots if running.came_with_recording else fetches
            if capacity.is_full_for(running.held.tenant) and (
                running.is_being_fetched or not isinstance(outcome, SlowFetch)
            ):
                self._stop(running, outcome)

    def _stop(self, running: Running, outcome: Outcome | LeaseLost) -> None:
        running.asked_to_stop = True
        self._loop.stop(running, outcome)

    async def _run(self, running: Running) -> Outcome | LeaseLost:
        """Work on a job. When a client cancels or deletes it, a heartbeat stops it."""
        story.tell_of(running.job)
        with story.attempt(running.job):
            return await self._work_until_cancelled(running)

    async def _work_until_cancelled(self, running: Running) -> Outcome | LeaseLost:
        with self._signals.subscribe(cancelled_topic(running.job.id)) as cancelled:
            watch = asyncio.create_task(self._heartbeat.beat_on(cancelled))
            try:
                return await self._work(running)
            finally:
                watch.cancel()

    async def _work(self, running: Running) -> Outcome | LeaseLost:
        """Fetch the recording if it is not stored, decode it, and transcribe it."""
        job = running.job
        options = stored_options.validate_python(job.options)
        filename = job.filename
        if running.audio_key is None:
            fetched = await self._recordings.fetch(job)
            running.audio_key = fetched.audio.key
            filename = fetched.filename or filename
            if not await self._recordings.attach(job, fetched):
                return LeaseLost()
            self._signals.wake(PENDING_TOPIC)  # the job waits for no server any more, so another fetch may begin
        rank = Rank(job.priority, job.caller, tenant_of(job.caller))
        decoding = self._recordings.decoder.decoded(running.audio_key, rank, options, filename)
        async with decoding as decoded:
            audio, started = decoded.audio, time.monotonic()
            reports_text = options.reports_text and not options.redacts  # what is private may go on in the next segment
            async with reported_text(self._database, job, wanted=reports_text) as on_final:
                with tracing.span("transcribe", callscribe__audio__seconds=audio.duration_seconds):
                    transcript = await self._transcriber.transcribe(
                        audio.channels, heard_with(options), running.set_progress, rank, on_final
                    )
            timings = Timings(decoded.seconds, time.monotonic() - started)
            redaction = None
            if options.redacts:
                transcript, redaction = await self._redact(running, transcript, options, audio.channels)
        facts = AudioFacts(audio.duration_seconds, audio.info.codec, audio.info.sample_rate, audio.info.channels)
        transcript = with_losses(transcript, audio.announced_seconds, audio.losses)
        return Succeeded(transcript, facts, timings, redaction)

    async def _redact(
        self, running: Running, transcript: Transcript, options: Options, channels: Sequence[PcmFile]
    ) -> tuple[Transcript, Redaction]:
        """The transcript without what is private, and what was taken out. Does the same to a kept recording."""
        result = await redacted(transcript, options)
        silenced = None
        if not self._retention.forgets_audio:
            running.redacted_key = str(uuid7())
            silenced = await save_silenced(
                channels,
                result,
                running.redacted_key,
                self._recordings.store,
                self._recordings.decoder.free_space,
            )
        kept = as_asked(transcript, options) if options.redact_keep else None
        return as_asked(result.transcript, options), Redaction(result.counts, kept, silenced)

    async def _record(self, running: Running, ended: Outcome | LeaseLost | Exception | None) -> None:
        """Write how an attempt ended. Without an outcome, the worker gives the job back."""
        job, written = running.job, None
        story.tell_of(job)
        outcome = await self._judge(running, ended) if isinstance(ended, Exception) else ended or Interrupted()
        if not isinstance(outcome, LeaseLost):
            outcome, written = await self._finish(job, outcome)
        if written is None or isinstance(outcome, LeaseLost):
            log.warning("the lease is lost, so nothing was written", outcome=type(outcome).__name__)
        else:
            story.attempt_ended(written.job, outcome)
        if isinstance(outcome, Succeeded):
            self.fitness.succeeded()
        await self._retention.erase_audio(job.id, await self._unneeded_audio(running, written))

    async def _judge(self, running: Running, error: Exception) -> Outcome:
        """The outcome of an attempt that raised `error`. Also decides what this worker claims from now on."""
        if isinstance(error, EngineStopped | DeviceLost):  # this process can do no job any more
            self._engine_stopped = True
            self._loop.close()
        outcome = outcome_of(error)
        if outcome is None:
            log.error("attempt failed", exc_info=error)
            outcome = ENGINE_FAILED if await self.fitness.try_out() else Hindered()
        if isinstance(outcome, Hindered):
            outcome = await self._judge_hindrance(running.job, error)
        elif isinstance(error, InsufficientStorage) and await self._recordings.is_there_space():
            outcome = replace(DISK_FULL, alone=True)  # it, or what its server announces, is too large
        if isinstance(outcome, Interrupted):
            log.warning("the service had trouble with the job", error=in_words(error))
            self._pause(outcome, fetches=running.is_being_fetched or isinstance(error, NotWritten))
        return outcome

    async def _judge_hindrance(self, job: Claimed, error: Exception) -> Outcome:
        """The job may be the cause of the trouble if it met it on many workers that are fit."""
        if job.hindrances >= MAX_HINDRANCES and await self.fitness.try_out():
            log.warning("the job met trouble on workers that are fit, and may be its cause", error=in_words(error))
            return Crashed()
        self.fitness.hindered(error)
        return Hindered()

    def _pause(self, interrupted: Interrupted, *, fetches: bool) -> None:
        """Claim no jobs of the same kind for a while, because they would meet the same trouble."""
        if interrupted.pause and not interrupted.alone:
            kind = "fetched" if fetches else "stored"
            self._pauses = replace(self._pauses, **{kind: time.monotonic() + STORE_PAUSE.total_seconds()})

    async def _finish(self, job: Claimed, outcome: Outcome) -> tuple[Outcome, Written | None]:
        """Write the outcome, however long the database is away. Returns the outcome that was written.

        Meanwhile the heartbeat keeps the lease. If the reply to a COMMIT was lost, the repetition finds no lease, and
        nothing is returned as written. If the database refuses the result, the attempt counts as failed.
        """
        finish = partial(queue.finish, job=job, outcome=outcome, at_end=self._at_end)
        pauses = chain(FIRST_FINISH_PAUSES_SECONDS, repeat(FINISH_PAUSE_SECONDS))
        try:
            return outcome, await write_down(self._database, finish, pauses)
        except DATABASE_TROUBLE as error:
            log.warning("finish failed", error=type(error).__name__)
            return await self._finish(job, ENGINE_FAILED) if outcome is not ENGINE_FAILED else (outcome, None)

    async def _unneeded_audio(self, running: Running, written: Written | None) -> list[str]:
        """The recordings that no row needs any more.

        If a job was stopped directly after its fetch, its row has never had the recording. If it is not known whether
        the job's end was written, the rows show what they need.
        """
        stored = [key for key in (running.audio_key, running.redacted_key) if key is not None]
        if written is not None:
            needed = set(audio_keys(written.job))
            return list({*written.forgotten_audio, *stored} - needed)
        if not stored:
            return []
        try:
            async with self._database.transaction() as session:
                needed = await erasure.needed_audio(session, stored)
        except DATABASE_TROUBLE:
            return []
        return [key for key in stored if key not in needed]
