"""Makes a recording and what is asked for it into a durable job. Every way in ends in `Intake.accept`.

A way in that has bytes saves them with `Intake.receiving` first. So the same limits of size and disk space hold for
every way in, and a failure leaves nothing in the store. How a recording came in, by form or by connection, and status
codes belong to `app.api`.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, NoReturn
from uuid import UUID

import structlog
from sqlmodel.ext.asyncio.session import AsyncSession
from uuid_utils.compat import uuid7

from app import tracing
from app.access.callers import Caller, Scope, require_scope, tenant_of
from app.audio.decode import MediaInfo
from app.control.away import never_away
from app.database.connections import Database
from app.deliveries.outputs import Output, Outputs, values_of
from app.deliveries.receivers import PlaceholderValues, Receivers
from app.errors import (
    AppError,
    FieldError,
    InsufficientStorage,
    IntakePaused,
    InvalidRequest,
    MediaError,
    QueueFull,
    QuotaExceeded,
    Unavailable,
)
from app.intake.ask import Accepted, Ask, Remote, Stored, fingerprint, request_hash
from app.intake.model_names import ModelNames
from app.intake.offered import options_in_force
from app.intake.prober import Prober
from app.jobs.changes import awaited, changing, quotas
from app.jobs.changes.awaited import Upload
from app.jobs.changes.queue_limit import QueueLimit
from app.jobs.claims.ending import AtEnd
from app.jobs.models import NewJob, Transcription
from app.network.guard import host_of
from app.process.shares import Shares
from app.process.tasks import never, run_unless
from app.sources.fetch import Fetcher
from app.sources.names import last_component, shown_name
from app.storage.disk import FreeSpace, full_disk_as_insufficient_storage
from app.storage.store import AudioStore, Measured, StoredAudio, StoreUnavailable
from app.transcripts.entities import Entity
from app.transcripts.transcript import Options, Transcript

AWAY_RETRY_AFTER_SECONDS = 30  # the server of a model in trouble is tried that often
MOST_BESIDE_RECORDING = 256 * 1024  # bytes that a request may have beside its recording

log = structlog.stdlib.get_logger("callscribe.intake")

Save = Callable[[AsyncIterator[bytes]], Awaitable[StoredAudio]]


@dataclass(frozen=True)
class Limits:
    """The most that is accepted: bytes and seconds of a recording, and jobs that wait, which `shares` divides."""

    upload_bytes: int
    audio_seconds: float
    queue: QueueLimit
    shares: Shares = field(default_factory=Shares)

    def queue_of(self, label: str) -> QueueLimit:
        """The limit of the queue for the caller with this label."""
        tenant = tenant_of(label)
        return replace(self.queue, keys=self.shares.callers_of(tenant), tenants=self.shares.tenants)


def _always_open() -> None:
    pass


def _any_channels(channels: int) -> None:
    pass


class Intake:
    """The one way to a new job. `closed` is set when the service stops."""

    def __init__(
        self,
        database: Database,
        store: AudioStore,
        fetcher: Fetcher,
        models: ModelNames,
        receivers: Receivers,
        outputs: Outputs,
        free_space: FreeSpace,
        limits: Limits,
        require_open: Callable[[], None] = _always_open,
        redacts: Sequence[Entity] = (),
        is_away: Callable[[str], bool] = never_away,
    ) -> None:
        """`require_open` raises IntakePaused while an operator has paused the intake.

        `is_away` says whether no worker can use a model at the moment. It asks nobody. `redacts` is what the operator
        takes out of all transcripts.
        """
        self._database = database
        self._store = store
        self._fetcher = fetcher
        self.models = models
        self._receivers = receivers
        self._outputs = outputs
        self._free_space = free_space
        self.limits = limits
        self.closed = False
        self.require_open = require_open
        self._redacts = redacts
        self._is_away = is_away
        self._prober = Prober(store, limits.audio_seconds, limits.shares)

    @asynccontextmanager
    async def receiving(
        self,
        caller: Caller,
        idempotency_key: str | None = None,
        announced_bytes: int = 0,
        *,
        is_awaited: bool = False,
    ) -> AsyncIterator[Save]:
        """Gives a function that saves one recording from a stream. After the block, `accept` takes the recording over.

        If the block raises an error, the saved bytes are erased. `announced_bytes` is 0 if the size is not known.

        Raises QueueFull, QuotaExceeded, InsufficientStorage and IntakePaused before a byte is read. If the caller's
        idempotency key is known, it raises none, because a repetition needs no place: its bytes are only counted and
        hashed. The same holds for an awaited request that announces about as many bytes as one of the caller's awaited
        jobs has. The function raises TooLarge and InsufficientStorage.
        """
        key = str(uuid7())
        try:
            known = await self._needs_no_room(caller, idempotency_key, announced_bytes)
        except (QueueFull, QuotaExceeded, InsufficientStorage, IntakePaused):
            known = is_awaited and await self._may_repeat(self.upload_of(caller, announced_bytes))
            if not known:
                raise

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
        async with self._erased_on_failure(key):
            yield save

    async def _needs_no_room(self, caller: Caller, idempotency_key: str | None, announced_bytes: int) -> bool:
        """Whether the caller has used the idempotency key. If not, raises what `receiving` raises."""
        async with self._database.transaction() as session:
            if idempotency_key and await changing.key_is_known(session, caller.label, idempotency_key):
                return True
            self.require_open()
            await quotas.require(session, caller)
            await changing.require_queue_place(session, caller.label, self.limits.queue_of(caller.label))
        await self._free_space.require(announced_bytes)
        return False

    async def knows(self, caller: Caller, idempotency_key: str) -> bool:
        """Whether the caller has a job with this idempotency key."""
        async with self._database.transaction() as session:
            return await changing.key_is_known(session, caller.label, idempotency_key)

    def upload_of(self, caller: Caller, announced_bytes: int) -> Upload:
        """What is known of a recording while it arrives. `announced_bytes` is 0 if the size is not known."""
        least = max(0, announced_bytes - MOST_BESIDE_RECORDING)
        return Upload(caller.label, least, announced_bytes or self.limits.upload_bytes)

    async def _may_repeat(self, upload: Upload) -> bool:
        async with self._database.transaction() as session:
            return await awaited.may_be_repeated(session, upload)

    async def accept(
        self,
        recording: Stored | Remote,
        ask: Ask,
        caller: Caller,
        idempotency_key: str | None = None,
        *,
        abandoned: Callable[[], Coroutine[Any, Any, NoReturn]] = never,
        require: Callable[[int], None] = _any_channels,
    ) -> Accepted:
        """Enqueue a job, or find the job of an earlier request with the same caller and idempotency key.

        An awaited request has no idempotency key. It finds the job of an earlier request of the same caller with the
        same recording and options (`jobs.changes.awaited`).

        A stored recording is erased if no new job needs it. It stays if an error of the database interrupts the writing
        of the job, because the job may have been written. `abandoned` raises an error when the sender does not wait for
        the answer any more. That ends the probe. `require` gets the number of channels, and may raise an error. Raises
        AppError for every request that is refused.
        """
        if isinstance(recording, Remote):
            return await self._accept_remote(recording, ask, caller, idempotency_key)
        async with self._erased_on_failure(recording.audio.key):
            earlier = await self._earlier(recording, ask, caller, idempotency_key)
            if earlier is None:  # repetitions come when the load is high already, so they are not probed
                if not recording.audio.kept:
                    await self._needs_no_room(caller, None, recording.audio.bytes)
                    raise Unavailable(
                        "The recording was not stored, because an earlier one was expected.", retry_after=1
                    )
                job = self._new_job(recording, ask, caller, idempotency_key)
                if ask.is_awaited:
                    self._require_usable(job.options.model)
                info = await run_unless(abandoned(), self._prober.probe(job, is_patient=ask.is_awaited))
                require(info.channels)
                if ask.diarizes_one_channel and info.channels == 1:
                    job = replace(job, options=replace(job.options, diarize=True))
            elif earlier.channels is not None:
                require(earlier.channels)
        if earlier is not None:
            await self._erase(recording.audio.key)
            return Accepted(earlier, is_new=False)
        return await self._enqueue(
            _described(job, info),
            caller,
            self._hash_of(recording, ask) if ask.is_awaited else None,
        )

    async def promise(self, job_id: UUID, ask: Ask, caller: Caller, source: str) -> NewJob:
        """The job that a recording which comes bit by bit becomes later, by `keep`. Nothing is written yet.

        Raises the AppError with which the request is refused. A recording that is promised is not refused later.
        """
        nothing = StoredAudio(str(job_id), 0, "", kept=False)
        await self._needs_no_room(caller, None, 0)
        key = f"{source}-{job_id}"
        return await asyncio.to_thread(self._new_job, Stored(nothing, source=source), ask, caller, key)

    async def keep(
        self,
        promised: NewJob,
        recording: AsyncIterator[bytes],
        record: Callable[[AsyncSession], Awaitable[None]],
    ) -> None:
        """Makes a recording into the job that it was promised, even if the queue is full now or a limit was lowered.

        `record` writes more in the transaction of the job. If this is repeated after a crash, it finds the job of the
        first time. A recording that cannot be read becomes a job too, which fails, so that the client is told why.

        Raises an OSError for trouble with the store, and Unavailable if too many recordings are looked at. Then nothing
        is stored, and it has to be repeated later.
        """
        key = str(promised.id)
        async with self._database.transaction() as session:
            if await changing.key_is_known(session, promised.caller, promised.idempotency_key or ""):
                await record(session)
                return
        await self._store.delete(key)  # what is left of an earlier try
        async with self._erased_on_failure(key):
            audio = await self._store.save(key, recording, sys.maxsize)
            job = replace(promised, audio_key=key, bytes=audio.bytes, sha256=audio.sha256)
            with suppress(MediaError):
                job = _described(job, await self._prober.probe(job, is_patient=True))
        async with self._database.transaction() as session:
            await changing.enqueue(session, job, None)
            await record(session)

    async def accept_written(
        self,
        recording: Stored,
        ask: Ask,
        caller: Caller,
        idempotency_key: str,
        transcript: Transcript,
        at_end: AtEnd,
    ) -> Accepted:
        """Add a completed job for a recording whose outputs are written already. Its receivers are notified.

        The recording is not stored, and nothing is written again. Raises AppError if the request is refused.
        """
        self.require_open()
        asked = self._new_job(recording, replace(ask, output=None, folder_output=None), caller, idempotency_key)
        job = replace(asked, outputs=[], audio_key=None, sha256=None, duration=transcript.duration or None)
        async with self._database.transaction() as session:
            row, is_new = await changing.add_completed(session, job, transcript, at_end)
        return Accepted(row, is_new)

    def redacts(self, ask: Ask) -> bool:
        """Whether something is taken out of the transcript, because the client or the operator wants it."""
        return bool(self._redacts) or ask.options.redacts

    def check(self, recording: Remote, ask: Ask, caller: Caller) -> None:
        """Raises the AppError with which `accept` would refuse the recording."""
        self._new_job(recording, ask, caller, None)

    async def accept_many(
        self,
        asked: Sequence[tuple[Remote, Ask] | AppError],
        caller: Caller,
        batch_id: UUID,
        record: Callable[[AsyncSession, Sequence[UUID | AppError]], Awaitable[bool]],
    ) -> bool:
        """Enqueue jobs of a recording batch in one transaction, with the checks of `accept`.

        `record` writes the outcomes in the same transaction: for each recording the id of its job, or the error that
        refuses it. If it returns False, nothing is enqueued. Returns what it returns.
        """
        jobs = await asyncio.to_thread(lambda: [self._job_of_batch(each, caller, batch_id) for each in asked])
        async with self._database.transaction() as session:
            if not await record(session, [job.id if isinstance(job, NewJob) else job for job in jobs]):
                return False
            await changing.enqueue_many(session, [job for job in jobs if isinstance(job, NewJob)])
        return True

    def _job_of_batch(self, asked: tuple[Remote, Ask] | AppError, caller: Caller, batch_id: UUID) -> NewJob | AppError:
        if isinstance(asked, AppError):
            return asked
        try:
            with tracing.span("feed", tracing.ROOT, tracing.SpanKind.PRODUCER) as span:
                job = replace(self._new_job(*asked, caller, None), batch_id=batch_id)
                tracing.describe(span, callscribe__job__id=str(job.id))
                return job
        except AppError as error:
            return error

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
            self.require_open()
            job = self._new_job(recording, ask, caller, idempotency_key)
        except AppError:  # a repetition is answered even if a setting has changed that would refuse it now
            earlier = await self._earlier(recording, ask, caller, idempotency_key)
            if earlier is None:
                raise
            return Accepted(earlier, is_new=False)
        return await self._enqueue(job, caller)

    async def _enqueue(self, job: NewJob, caller: Caller, request_hash: str | None = None) -> Accepted:
        """Write the job. If the job is refused or not new, its recording is erased."""
        try:
            limit = self.limits.queue_of(job.caller)
            async with self._database.transaction() as session:
                if request_hash is None:
                    row, is_new = await changing.enqueue(session, job, limit, caller)
                else:
                    row, is_new = await changing.enqueue_awaited(session, job, request_hash, limit, caller)
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
        if ask.is_awaited and isinstance(recording, Stored):
            async with self._database.transaction() as session:
                return await awaited.join(session, caller.label, self._hash_of(recording, ask))
        if idempotency_key is None:
            return None
        asked = fingerprint(recording, ask, _name(recording))
        async with self._database.transaction() as session:
            return await changing.repeated(session, caller.label, idempotency_key, asked)

    def _hash_of(self, recording: Stored, ask: Ask) -> str:
        resolved = replace(ask, options=self._in_force(ask.options))
        return request_hash(recording, resolved, _name(recording))

    def _new_job(self, recording: Stored | Remote, ask: Ask, caller: Caller, idempotency_key: str | None) -> NewJob:
        """The job that is asked for, with the defaults filled in.

        Raises InvalidRequest, UrlNotAllowed and Forbidden.
        """
        if isinstance(recording, Remote):
            self._fetcher.require_allowed(recording.url)
        self.require_may_keep(ask.options, caller)
        options, filename = self._in_force(ask.options), _name(recording)
        name_field = "url" if isinstance(recording, Remote) else "file"
        given = PlaceholderValues(filename, ask.external_id, name_field)
        job_id = uuid7() if isinstance(recording, Remote) else UUID(recording.audio.key)
        values = values_of(str(job_id), ask.external_id, filename, datetime.now(UTC))
        job = NewJob(
            id=job_id,
            caller=caller.label,
            idempotency_key=idempotency_key,
            fingerprint=fingerprint(recording, ask, filename),
            external_id=ask.external_id,
            metadata=ask.metadata,
            options=options,
            webhook_urls=self._receivers.webhooks(ask.webhook_url),
            callback_urls=self._receivers.callbacks(ask.callback_url, given),
            outputs=self._outputs.of(ask.output, values, name_field) + _listed(ask.folder_output),
            priority=self._priority(ask, caller),
            source=recording.url if isinstance(recording, Remote) else recording.source,
            filename=filename,
            traceparent=tracing.traceparent(),
        )
        if isinstance(recording, Remote):
            return replace(job, source_host=host_of(recording.url))
        audio = recording.audio
        return replace(job, audio_key=audio.key, bytes=audio.bytes, sha256=audio.sha256)

    def _in_force(self, asked: Options) -> Options:
        return self.redacted(options_in_force(asked, self.models))

    def redacted(self, options: Options) -> Options:
        """The options, with what the operator takes out of all transcripts."""
        return replace(options, redact=tuple(dict.fromkeys((*options.redact, *self._redacts))))

    def require_may_keep(self, options: Options, caller: Caller) -> None:
        """Raises Forbidden if the caller may not keep the original of what the operator takes out."""
        if self._redacts and options.redact_keep:
            require_scope(caller, Scope.UNREDACTED)

    def _require_usable(self, model: str) -> None:
        """Raises Unavailable. A job can wait for a model. A client that waits for the answer gets the error instead."""
        if self._is_away(model):
            detail = f"The model {model} cannot be used at the moment. Repeat the request later."
            raise Unavailable(detail, retry_after=AWAY_RETRY_AFTER_SECONDS)

    def _priority(self, ask: Ask, caller: Caller) -> int:
        """The priority in force. Raises InvalidRequest for one that is more urgent than the caller may ask for."""
        most_urgent, asked = caller.most_urgent, ask.priority
        if asked is not None and asked < most_urgent:
            detail = f"must be {most_urgent} to 9: this API key may not ask for a more urgent one"
            raise InvalidRequest("The priority is not allowed.", errors=(FieldError("priority", detail),))
        return max(ask.default_priority if asked is None else asked, most_urgent)


def _described(job: NewJob, info: MediaInfo) -> NewJob:
    """The job, with what the header of its recording says."""
    return replace(
        job,
        duration=info.duration_seconds,
        codec=info.codec,
        sample_rate=info.sample_rate,
        channels=info.channels,
    )


def _listed(output: Output | None) -> list[Output]:
    return [] if output is None else [output]


def _name(recording: Stored | Remote) -> str | None:
    of_url = last_component(recording.url) if isinstance(recording, Remote) else None
    return shown_name(recording.filename) or shown_name(of_url)
