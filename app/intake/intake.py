"""Makes a recording and what is asked for it into a durable job. Every way in ends in `Intake.accept`.

A way in that has bytes saves them with `Intake.receiving` first. So the same limits of size and disk space hold for
every way in, and a failure leaves nothing in the store. How a recording came in, by form or by connection, and status
codes belong to `app.api`.
"""

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn
from uuid import UUID

import structlog
from uuid_utils.compat import uuid7

from app.audio.decode import MediaInfo, probe
from app.audio.raw import raw_sound
from app.callers import Caller
from app.database.connections import Database
from app.deliveries.receivers import PlaceholderValues, Receivers
from app.errors import AppError, FieldError, InvalidRequest, TooLong, Unavailable
from app.intake.ask import DEFAULT_PRIORITY, Accepted, Ask, Remote, Stored, fingerprint
from app.intake.model_names import ModelNames
from app.jobs import changing
from app.jobs.models import NewJob, Transcription
from app.jobs.queue_limit import QueueLimit
from app.network.guard import host_of
from app.process.places import FairPlaces, Rank
from app.process.tasks import never, run_unless
from app.sources.fetch import Fetcher
from app.sources.names import last_component, shown_name
from app.speech.families import abilities
from app.storage.disk import FreeSpace, full_disk_as_insufficient_storage
from app.storage.store import AudioStore, Measured, StoredAudio, StoreUnavailable
from app.transcripts.transcript import Options

PROBES = 3
PROBES_OF_ONE_KEY = 2
MAX_PENDING_PROBES = 128  # a probe costs 0.1 s of a core, so the last one waits about 10 s: clients wait that long
MAX_PENDING_PROBES_OF_ONE_KEY = 96
PROBE_RETRY_SECONDS = 3
# Their duration may be a guess by the bit rate, or a placeholder of a recorder that could not go back to correct it.
ESTIMATING_CONTAINERS = frozenset({"aac", "ac3", "aiff", "amr", "eac3", "mp3"})

log = structlog.stdlib.get_logger("callscribe.intake")

Save = Callable[[AsyncIterator[bytes]], Awaitable[StoredAudio]]


@dataclass(frozen=True)
class Limits:
    """The most that is accepted: bytes and seconds of a recording, and jobs that wait.

    `urgency` holds the most urgent priority that an API key may ask for. Keys that it does not name may ask for any.
    """

    upload_bytes: int
    audio_seconds: float
    queue: QueueLimit
    urgency: Mapping[str, int] = field(default_factory=dict)


class Intake:
    """The one way to a new job. `closed` is set when the service stops."""

    def __init__(
        self,
        database: Database,
        store: AudioStore,
        fetcher: Fetcher,
        models: ModelNames,
        receivers: Receivers,
        free_space: FreeSpace,
        limits: Limits,
    ) -> None:
        self._database = database
        self._store = store
        self._fetcher = fetcher
        self.models = models
        self._receivers = receivers
        self._free_space = free_space
        self.limits = limits
        self.closed = False
        self._probing = FairPlaces(PROBES, PROBES_OF_ONE_KEY)
        self._pending_probes: Counter[str] = Counter()

    @asynccontextmanager
    async def receiving(
        self, caller: Caller, idempotency_key: str | None = None, announced_bytes: int = 0
    ) -> AsyncIterator[Save]:
        """Gives a function that saves one recording from a stream. After the block, `accept` takes the recording over.

        If the block raises an error, the saved bytes are erased. `announced_bytes` is 0 if the size is not known.

        Raises QueueFull and InsufficientStorage before a byte is read. If the caller's idempotency key is known, it
        raises neither, because a repetition needs no place: its bytes are only counted and hashed. The function raises
        TooLarge and InsufficientStorage.
        """
        key = str(uuid7())
        async with self._database.transaction() as session:
            known = idempotency_key and await changing.key_is_known(session, caller.name, idempotency_key)
            if not known:
                await changing.require_queue_place(session, caller.name, self.limits.queue)

        async def measure(stream: AsyncIterator[bytes]) -> StoredAudio:
            measured = Measured(stream, self.limits.upload_bytes)
            async for _ in measured:
                pass
            return replace(measured.stored_as(key), kept=False)

        async def save(stream: AsyncIterator[bytes]) -> StoredAudio:
            return await self._store.save(key, self._free_space.guard(stream), self.limits.upload_bytes)

        if known:
            yield measure
            return
        await self._free_space.require(announced_bytes)
        async with self._erased_on_failure(key):
            yield save

    async def accept(
        self,
        recording: Stored | Remote,
        ask: Ask,
        caller: Caller,
        idempotency_key: str | None = None,
        *,
        abandoned: Callable[[], Coroutine[Any, Any, NoReturn]] = never,
    ) -> Accepted:
        """Enqueue a job, or find the job of an earlier request with the same caller and idempotency key.

        A stored recording is erased if no new job needs it. It stays if an error of the database interrupts the writing
        of the job, because the job may have been written. `abandoned` raises an error when the sender does not wait for
        the answer any more. That ends the probe. Raises AppError for every request that is refused.
        """
        if isinstance(recording, Remote):
            return await self._accept_remote(recording, ask, caller, idempotency_key)
        async with self._erased_on_failure(recording.audio.key):
            earlier = await self._earlier(recording, ask, caller, idempotency_key)
            if earlier is None:  # repetitions come when the load is high already, so they are not probed
                if not recording.audio.kept:
                    raise Unavailable("The transcription of this key was deleted meanwhile.", retry_after=1)
                job = self._new_job(recording, ask, caller, idempotency_key)
                info = await run_unless(abandoned(), self._probe(recording.audio, job))
        if earlier is not None:
            await self._erase(recording.audio.key)
            return Accepted(earlier, is_new=False)
        return await self._enqueue(
            replace(
                job,
                duration=info.duration_seconds,
                codec=info.codec,
                sample_rate=info.sample_rate,
                channels=info.channels,
            )
        )

    @asynccontextmanager
    async def _erased_on_failure(self, key: str) -> AsyncIterator[None]:
        try:
            with full_disk_as_insufficient_storage():
                yield
        except StoreUnavailable:  # a request to delete would fail too; the search for orphans erases it later
            raise
        except BaseException:
            await self._erase(key)
            raise

    async def _accept_remote(
        self, recording: Remote, ask: Ask, caller: Caller, idempotency_key: str | None
    ) -> Accepted:
        try:
            job = self._new_job(recording, ask, caller, idempotency_key)
        except AppError:  # a repetition is answered even if a setting has changed that would refuse it now
            earlier = await self._earlier(recording, ask, caller, idempotency_key)
            if earlier is None:
                raise
            return Accepted(earlier, is_new=False)
        return await self._enqueue(job)

    async def _enqueue(self, job: NewJob) -> Accepted:
        """Write the job. If the job is refused or not new, its recording is erased."""
        try:
            async with self._database.transaction() as session:
                row, is_new = await changing.enqueue(session, job, self.limits.queue)
        except AppError:
            await self._erase(job.audio_key)
            raise
        if not is_new:
            await self._erase(job.audio_key)
        return Accepted(row, is_new)

    async def _erase(self, key: str | None) -> None:
        """Erase a recording that no job needs. If the store fails, the search for orphans erases it later."""
        if key is None:
            return
        try:
            await self._store.delete(key)
        except OSError as error:
            log.warning("recording not erased", key=key, error=repr(error))

    async def _earlier(
        self, recording: Stored | Remote, ask: Ask, caller: Caller, idempotency_key: str | None
    ) -> Transcription | None:
        """The job that the request repeats; None if the request is new. Raises IdempotencyKeyReused."""
        if idempotency_key is None:
            return None
        asked = fingerprint(recording, ask, _name(recording))
        async with self._database.transaction() as session:
            return await changing.repeated(session, caller.name, idempotency_key, asked)

    async def _probe(self, audio: StoredAudio, job: NewJob) -> MediaInfo:
        rank = Rank(job.priority, job.caller)
        with self._pending_probe(rank.owner):
            async with self._probing.place(rank), self._store.local_path(audio.key) as path:
                info = await probe(path, raw_sound(job.options, job.filename))
        announced = None if info.container in ESTIMATING_CONTAINERS else info.duration_seconds
        if announced is not None and announced > self.limits.audio_seconds:
            raise TooLong(f"The recording is longer than {self.limits.audio_seconds:g} s.")
        return info

    @contextmanager
    def _pending_probe(self, caller: str) -> Iterator[None]:
        """Raises Unavailable if too many recordings in all, or of this caller, are being probed or wait for that."""
        pending = self._pending_probes
        if pending.total() >= MAX_PENDING_PROBES or pending[caller] >= MAX_PENDING_PROBES_OF_ONE_KEY:
            raise Unavailable("Too many recordings wait to be looked at.", retry_after=PROBE_RETRY_SECONDS)
        self._pending_probes[caller] += 1
        try:
            yield
        finally:
            self._pending_probes[caller] -= 1
            self._pending_probes = +self._pending_probes

    def _new_job(self, recording: Stored | Remote, ask: Ask, caller: Caller, idempotency_key: str | None) -> NewJob:
        """The job that is asked for, with the defaults filled in. Raises InvalidRequest and UrlNotAllowed."""
        if isinstance(recording, Remote):
            self._fetcher.require_allowed(recording.url)
        options, filename = self._options(ask.options), _name(recording)
        given = PlaceholderValues(filename, ask.external_id, "url" if isinstance(recording, Remote) else "file")
        job = NewJob(
            id=uuid7() if isinstance(recording, Remote) else UUID(recording.audio.key),
            caller=caller.name,
            idempotency_key=idempotency_key,
            fingerprint=fingerprint(recording, ask, filename),
            external_id=ask.external_id,
            metadata=ask.metadata,
            options=options,
            webhook_urls=self._receivers.webhooks(ask.webhook_url),
            callback_urls=self._receivers.callbacks(ask.callback_url, given),
            priority=self._priority(ask.priority, caller),
            source="upload",
            filename=filename,
        )
        if isinstance(recording, Remote):
            return replace(job, source=recording.url, source_host=host_of(recording.url))
        audio = recording.audio
        return replace(job, audio_key=audio.key, bytes=audio.bytes, sha256=audio.sha256)

    def _priority(self, asked: int | None, caller: Caller) -> int:
        """The priority in force. Raises InvalidRequest for one that is more urgent than the caller may ask for."""
        most_urgent = self.limits.urgency.get(caller.name, 0)
        if asked is not None and asked < most_urgent:
            detail = f"must be {most_urgent} to 9: this API key may not ask for a more urgent one"
            raise InvalidRequest("The priority is not allowed.", errors=(FieldError("priority", detail),))
        return max(DEFAULT_PRIORITY if asked is None else asked, most_urgent)

    def _options(self, asked: Options) -> Options:
        """The options in force. Raises InvalidRequest for what this service does not offer."""
        model = self.models.resolve(asked.model)
        if model is None:
            detail = f"must be one of: {self.models.in_words()}"
            raise InvalidRequest("The model is not served.", errors=(FieldError("model", detail),))
        if asked.language is not None and asked.language not in abilities(model).languages:
            detail = f"is not a language of the model {model}; GET /v1/models lists the languages of each model"
            raise InvalidRequest("The language is not known.", errors=(FieldError("language", detail),))
        if asked.task == "translate" and not abilities(model).translates:
            detail = f"the model {model} was not trained to translate"
            raise InvalidRequest("The model cannot translate.", errors=(FieldError("task", detail),))
        return replace(asked, model=model)


def _name(recording: Stored | Remote) -> str | None:
    return shown_name(recording.filename if isinstance(recording, Stored) else last_component(recording.url))
