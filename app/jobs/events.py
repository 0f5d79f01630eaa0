"""The event of a transcription that has ended: its bytes, what is written, and the receivers that get it. Pure."""

from datetime import datetime
from typing import Literal, Protocol

from pydantic import BaseModel, Field

from app.deliveries.models import Style
from app.deliveries.outbox import NewEvent, Target
from app.deliveries.outputs import S3_SCHEME
from app.deliveries.receivers import filled, unsafe_placeholders
from app.deliveries.stream_url import stream_url
from app.jobs.lifecycle import Status
from app.jobs.models import Transcription, output_files
from app.jobs.views import TranscriptionOut
from app.transcripts.view import WarningOut

MAX_BODY_BYTES = 20_000
MAX_WARNINGS = 10
SHORTENED = WarningOut(
    code="event_shortened", message="Prompt, hotwords and some warnings are left out; read the transcription for them."
)


class TranscriptionEvent(BaseModel):
    """The body of a webhook: the transcription as it ended, without its transcript."""

    type: Literal["transcription.completed", "transcription.failed", "transcription.cancelled"]
    timestamp: datetime = Field(description="When the transcription ended. It equals `data.completed_at`.")
    data: TranscriptionOut


def event_of(job: Transcription, *, root_path: str = "", stream: str | None = None) -> NewEvent | None:
    """The event of a job that has ended, or None if it has no receivers and writes nothing.

    Its links begin with `root_path`. If the operator has a `stream` for results, every event also goes there.
    """
    targets = _outputs(job) + webhooks(job) + _callbacks(job) + messages(stream)
    return NewEvent(job.id, _type_of(job), _body(job, root_path), targets, job.traceparent) if targets else None


def _type_of(job: Transcription) -> str:
    return f"transcription.{job.status}"


def _body(job: Transcription, root_path: str) -> bytes:
    event = TranscriptionEvent.model_validate(
        {"type": _type_of(job), "timestamp": job.completed_at, "data": TranscriptionOut.of(job, root_path=root_path)}
    )
    return body_of(event)


class AnyEvent(Protocol):
    """An event about a transcription."""

    data: TranscriptionOut

    def model_dump_json(self) -> str: ...


def body_of(event: AnyEvent) -> bytes:
    """The bytes of an event, under 20 kB. A longer one loses its prompt, hotwords and some warnings."""
    whole = event.model_dump_json().encode()
    if len(whole) < MAX_BODY_BYTES:
        return whole
    event.data.options = event.data.options.model_copy(update={"prompt": None, "hotwords": ()})
    event.data.warnings = [*event.data.warnings[:MAX_WARNINGS], SHORTENED]
    return event.model_dump_json().encode()


def _outputs(job: Transcription) -> list[Target]:
    if job.status != Status.COMPLETED:
        return []
    return [
        Target(Style.S3 if file.url.startswith(S3_SCHEME) else Style.FOLDER, file.url, file.format)
        for file in output_files(job)
    ]


def messages(stream: str | None) -> list[Target]:
    """The stream that gets the events of all jobs, if there is one."""
    return [] if stream is None else [Target(Style.STREAM, stream_url(stream))]


def webhooks(job: Transcription) -> list[Target]:
    return [Target(Style.WEBHOOK, url) for url in job.webhook_urls]


def _callbacks(job: Transcription) -> list[Target]:
    """The callbacks with their placeholders filled in.

    Jobs of earlier versions may have a callback that would lose its path when it is filled in. It stays as it is, so
    that the sender refuses it and its deliveries show that.
    """
    values = {
        "file_name": job.filename or "",
        "external_id": job.external_id or "",
        "id": str(job.id),
        "status": str(job.status),
    }
    callbacks = [url if unsafe_placeholders(url, values) else filled(url, values) for url in job.callback_urls]
    return [Target(Style.CALLBACK, url) for url in callbacks]
