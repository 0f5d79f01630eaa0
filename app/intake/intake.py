"""Accepting a recording: an upload becomes durable audio, then a durable job; a URL becomes a job at once."""

import hashlib
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NoReturn
from uuid import UUID

from uuid_utils.compat import uuid7

from app.api.forms import Form, read_form, shown_name
from app.api.requests import CreateFromUrl, CreateTranscription
from app.api.server.hangups import unless
from app.audio.decode import MediaInfo, probe
from app.database.connections import Database
from app.deliveries.receivers import Given, Receivers
from app.errors import AppError, FieldError, InvalidRequest, TooLarge, TooLong, Unavailable
from app.jobs import queue
from app.jobs.models import Transcription, stored_options
from app.jobs.queue_limit import QueueLimit
from app.network.guard import host_of
from app.sources.fetch import Fetcher, last_component
from app.speech.batching.fair_places import FairPlaces
from app.speech.batching.fairness import Share
from app.speech.families import abilities
from app.storage.disk import FreeSpace, full_disk_as_no_room
from app.storage.store import AudioStore, StoredAudio, StoreUnavailable
from app.transcripts.transcript import Options

FORM_BYTES = 256 * 1024  # what a form may weigh beside its file
JSON_BODY_BYTES = 64 * 1024
PROBES = 3
PROBES_OF_ONE_KEY = 2
MAX_IN_LINE = 128  # a probe costs 0.1 s of a core: the last one waits some 10 s, which clients do before they give up
MAX_IN_LINE_OF_ONE_KEY = 96
LINE_RETRY_SECONDS = 3
# Their duration may be a guess by the bit rate, or a placeholder that a recorder without a way back has left.
ESTIMATING_CONTAINERS = frozenset({"aac", "ac3", "aiff", "amr", "eac3", "mp3"})


@dataclass(frozen=True)
class Submission:
    """A request to transcribe an upload or what a URL leads to, its body still unread.

    `announced_bytes` is 0 where it tells no length. `hang_up` raises once the client does, after the body's end.
    """

    body: AsyncIterator[bytes]
    hang_up: Callable[[], Coroutine[Any, Any, NoReturn]]
    content_type: str
    announced_bytes: int
    caller: str
    idempotency_key: str | None


@dataclass(frozen=True)
class Limits:
    """What is accepted at most: bytes and seconds of a recording, and jobs that wait.

    `urgency` holds the most urgent priority that an API key may ask for; those that are not named may ask for any.
    """

    upload_bytes: int
    audio_seconds: float
    queue: QueueLimit
    urgency: Mapping[str, int] = field(default_factory=dict)


class Intake:
    """Turns requests into jobs. `closed` once the service stops."""

    def __init__(
        self,
        database: Database,
        store: AudioStore,
        fetcher: Fetcher,
        models: Sequence[str],
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
        self._in_line: Counter[str] = Counter()

    async def accept_url(self, submission: Submission) -> tuple[Transcription, bool]:
        """Enqueue a job whose recording a worker fetches, or find that of the same idempotency key; True when new."""
        text = b""
        async for chunk in submission.body:
            text += chunk
            if len(text) > JSON_BODY_BYTES:
                raise TooLarge(f"A JSON body may hold {JSON_BODY_BYTES} bytes.")
        fields = CreateFromUrl.from_json_body(text)
        options = self._options(fields)
        self._fetcher.require_allowed(fields.url)
        filename = shown_name(last_component(fields.url))
        columns = {
            "source": fields.url,
            "source_host": host_of(fields.url),
            "filename": filename,
            "priority": self._priority(fields, submission.caller),
        } | self._told(fields, filename, "url")
        async with self._database.transaction() as session:
            job = _job(uuid7(), submission, fields, options, columns, await queue.now(session))
            return await queue.enqueue(session, job, self.limits.queue)

    async def accept_upload(self, submission: Submission) -> tuple[Transcription, bool]:
        """Store a form's file and enqueue its job, or find the job of the same idempotency key; True when it is new.

        A repetition costs no probe, or it would add to the load that made the client ask again.
        """
        job_id = uuid7()
        await self._free_space.require(submission.announced_bytes)
        if submission.idempotency_key is None:  # else it may be a repetition, which needs no room
            async with self._database.transaction() as session:
                await queue.require_room(session, submission.caller, self.limits.queue)

        async def save(stream: AsyncIterator[bytes]) -> StoredAudio:
            return await self._store.save(str(job_id), self._free_space.guard(stream), self.limits.upload_bytes)

        try:
            with full_disk_as_no_room():
                form = await read_form(submission.body, submission.content_type, save)
                options = self._options(form.fields)
                told = self._told(form.fields, form.filename, "file")
                priority = self._priority(form.fields, submission.caller)
                earlier = await self._earlier(submission, _fingerprint(form.fields, form.filename, form.audio.sha256))
                if earlier is not None:
                    await self._store.delete(str(job_id))
                    return earlier, False
                share = Share(priority, submission.caller)
                info = await unless(submission.hang_up(), self._probe(form.audio, share))
        except StoreUnavailable:  # it would not answer a request to delete either; the search for orphans comes later
            raise
        except BaseException:
            await self._store.delete(str(job_id))
            raise
        try:
            async with self._database.transaction() as session:
                columns = _uploaded(form, info) | told | {"priority": priority}
                job = _job(job_id, submission, form.fields, options, columns, await queue.now(session))
                job, is_new = await queue.enqueue(session, job, self.limits.queue)
        except AppError:
            await self._store.delete(str(job_id))
            raise
        if not is_new:
            await self._store.delete(str(job_id))
        return job, is_new

    async def _earlier(self, submission: Submission, fingerprint: str) -> Transcription | None:
        """The job that a request with a key repeats. Raises IdempotencyKeyReused, and QueueFull for a new one."""
        if submission.idempotency_key is None:
            return None
        async with self._database.transaction() as session:
            earlier = await queue.repeated(session, submission.caller, submission.idempotency_key, fingerprint)
            if earlier is None:
                await queue.require_room(session, submission.caller, self.limits.queue)
        return earlier

    async def _probe(self, audio: StoredAudio, share: Share) -> MediaInfo:
        with self._place_in_line(share.owner):
            async with self._probing.place(share), self._store.local_path(audio.key) as path:
                info = await probe(path)
        claimed = None if info.container in ESTIMATING_CONTAINERS else info.duration_seconds
        if claimed is not None and claimed > self.limits.audio_seconds:
            raise TooLong(f"The recording is longer than {self.limits.audio_seconds:g} s.")
        return info

    @contextmanager
    def _place_in_line(self, caller: str) -> Iterator[None]:
        """Raises Unavailable where too many recordings, or too many of this caller, are probed or wait for it."""
        if self._in_line.total() >= MAX_IN_LINE or self._in_line[caller] >= MAX_IN_LINE_OF_ONE_KEY:
            detail = "Too many recordings wait to be looked at."
            raise Unavailable(detail, headers={"Retry-After": str(LINE_RETRY_SECONDS)})
        self._in_line[caller] += 1
        try:
            yield
        finally:
            self._in_line[caller] -= 1
            self._in_line = +self._in_line

    def _priority(self, request: CreateTranscription, caller: str) -> int:
        """The priority in force. Raises InvalidRequest for one that is more urgent than the caller may ask for."""
        most_urgent = self.limits.urgency.get(caller, 0)
        if "priority" in request.model_fields_set and request.priority < most_urgent:
            detail = f"must be {most_urgent} to 9: this API key may not ask for a more urgent one"
            raise InvalidRequest("The priority is not allowed.", errors=(FieldError("priority", detail),))
        return max(request.priority, most_urgent)

    def _told(self, request: CreateTranscription, filename: str | None, file_field: str) -> dict[str, Any]:
        """The columns that name who is told of the end. Raises UrlNotAllowed and InvalidRequest."""
        given = Given(filename, request.external_id, file_field)
        return {
            "webhook_urls": self._receivers.webhooks(request.webhook_url),
            "callback_urls": self._receivers.callbacks(request.callback_url, given),
        }

    def _options(self, request: CreateTranscription) -> Options:
        """The options in force. Raises InvalidRequest for what this service does not offer."""
        model = request.model or self.models[0]
        if model not in self.models:
            known = ", ".join(self.models)
            raise InvalidRequest("The model is not served.", errors=(FieldError("model", f"must be one of: {known}"),))
        if request.language != "auto" and request.language not in abilities(model).languages:
            detail = f"is not a language of the model {model}"
            raise InvalidRequest("The language is not known.", errors=(FieldError("language", detail),))
        if request.task == "translate" and not abilities(model).translates:
            detail = f"the model {model} was not trained to translate"
            raise InvalidRequest("The model cannot translate.", errors=(FieldError("task", detail),))
        return Options(
            model=model,
            language=None if request.language == "auto" else request.language,
            task=request.task,
            channels=request.channels,
            channel_labels=tuple(request.channel_labels),
            word_timestamps=request.word_timestamps,
            prompt=request.prompt,
            hotwords=tuple(request.hotwords),
        )


def _uploaded(form: Form, info: MediaInfo) -> dict[str, Any]:
    """The columns that tell of an upload."""
    return {
        "source": "upload",
        "filename": form.filename,
        "audio_key": form.audio.key,
        "bytes": form.audio.bytes,
        "sha256": form.audio.sha256,
        "duration": info.duration_seconds,
        "codec": info.codec,
        "sample_rate": info.sample_rate,
        "channels": info.channels,
    }


def _fingerprint(fields: CreateTranscription, filename: str | None, sha256: str | None) -> str:
    """What is equal for equal requests only. `sha256` is the recording's, None where it is behind a URL."""
    asked = fields.model_dump(mode="json", exclude_defaults=True)  # what a later version adds changes no fingerprint
    request = asked | {"sha256": sha256, "filename": filename}
    return hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()


def _job(
    job_id: UUID,
    submission: Submission,
    fields: CreateTranscription,
    options: Options,
    columns: dict[str, Any],
    now: datetime,
) -> Transcription:
    return Transcription(
        id=job_id,
        caller=submission.caller,
        idempotency_key=submission.idempotency_key,
        fingerprint=_fingerprint(fields, columns["filename"], columns.get("sha256")),
        external_id=fields.external_id,
        metadata_=fields.metadata,
        options=stored_options.dump_python(options, mode="json"),
        created_at=now,
        run_at=now,
        **columns,
    )
