"""What clients get of jobs and transcripts, as pydantic models. It must not know HTTP."""

from collections.abc import Mapping
from dataclasses import asdict, fields
from datetime import datetime
from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import AfterValidator, BaseModel, Field, create_model

from app.deliveries.models import OutputStatus
from app.deliveries.notify_status import NotifyState, NotifyStatus
from app.errors import Unavailable
from app.jobs.lifecycle import FINAL, MODEL_AWAY_MESSAGE, Status
from app.jobs.models import Transcription, output_files, stored_options
from app.search.hits import Hit, Hits
from app.sources.names import shown_url
from app.transcripts.formats import Format
from app.transcripts.transcript import Options, Task
from app.transcripts.view import SPEAKER, Seconds, WarningOut

EXAMPLE_ID = "01989d2e-7c1b-7f9e-8a54-2f0f6f1f9c3e"


class Audio(BaseModel):
    """The recording. Facts that the service learns by fetching or decoding it are null until then."""

    filename: str | None = Field(description="The file's name, from the client or from the URL.")
    source: Annotated[str, AfterValidator(shown_url)] = Field(
        description="`upload`, `live` for a live call, or the URL from which the service fetches the recording, "
        "without its query."
    )
    bytes: int | None
    sha256: str | None
    duration: float | None = Field(description="The length in seconds.")
    codec: str | None
    sample_rate: int | None = Field(description="The sample rate in Hz.")
    channels: int | None


# The first is set by a way in, and the terms are what nobody should read.
_NOT_SHOWN = {"reports_text", "is_one_window", "redact_terms"}
_OPTION_KINDS = {option.name: (option.type, ...) for option in fields(Options) if option.name not in _NOT_SHOWN}
_SHOWN_KINDS: dict[str, Any] = {"language": (str, ...), "task": (Task, ...)} | {
    **{name: kind for name, kind in _OPTION_KINDS.items() if name != "language"},
    "priority": (int, ...),
}
OptionsOut = create_model(
    "OptionsOut",
    __doc__="The options of the job. Options that the request left out have their defaults.",
    **_SHOWN_KINDS,
)


def shown_options(stored: Mapping[str, Any], priority: int) -> dict[str, Any]:
    """Options as clients see them. Those that are newer than the job have their defaults."""
    every = asdict(stored_options.validate_python(stored))
    options = {name: value for name, value in every.items() if name in _OPTION_KINDS}
    return {**options, "language": options["language"] or "auto", "priority": priority}


class ErrorOut(BaseModel):
    """Why a job failed."""

    code: str = Field(examples=["bad_media"])
    message: str


class RetryOut(BaseModel):
    """Why a job waits: why its last attempt ended, or that no worker can use its model. And when it is due."""

    code: str = Field(examples=["fetch_failed"], description="A code of an error, as in `error.code`.")
    message: str
    at: datetime = Field(description="The service does not try again before this time.")


class TimingsOut(BaseModel):
    """How many seconds the job waited, was decoded and was transcribed. A value is null until it is known."""

    queued: Seconds | None
    decoding: Seconds | None
    transcribing: Seconds | None


class OutputOut(BaseModel):
    """A file or an object with the transcript."""

    url: str = Field(
        examples=["s3://results/call-48151.json"],
        description="The key or the path is written as it is, not percent-encoded.",
    )
    format: Format
    status: OutputStatus = Field(
        description="`written`, `pending`, or `failed` if there are no more tries. The deliveries of the transcription "
        "say why a try has failed."
    )


class Links(BaseModel):
    """Paths of this transcription, its transcript, its recording and its analysis."""

    self: str
    transcript: str
    audio: str | None = Field(
        description="The path of the recording. Null if the service has not fetched it yet, or no longer keeps it."
    )
    analysis: str | None = Field(
        default=None,
        description="The path of the analysis. Null if there is none, and in the events of the transcription.",
    )


class SpeakerOut(BaseModel):
    """A channel of the recording, and how long somebody spoke on it. With `diarize=true` it may be a voice."""

    label: str = Field(examples=["agent"])
    speech_seconds: Seconds


class TranscriptionOut(BaseModel):
    """A transcription: a recording, its options and its status."""

    id: UUID = Field(examples=[EXAMPLE_ID])
    status: Status
    notify_status: NotifyStatus
    audio: Audio
    options: OptionsOut
    progress: float = Field(
        ge=0,
        le=1,
        description="How much of the work is done, from 0 to 1. It is the seconds of speech that are transcribed, "
        "divided by the sum of the seconds of speech that were found and the seconds that are not searched "
        "for speech yet.",
    )
    attempts: int = Field(
        description="How often a worker has run the job. Attempts that ended for reasons outside the job are not "
        "counted."
    )
    language: str | None = Field(
        description="The language that was requested or detected. It is null until the transcription is completed, and "
        "stays null if the recording has no speech."
    )
    speakers: list[SpeakerOut] | None = Field(
        description="Who spoke for how long: the channels of the recording, in their order. Null until the "
        "transcription is completed. With `diarize=true`, these are the voices, in the order in which they first "
        "speak. Speech of which it is not sure who speaks is left out."
    )
    outputs: list[OutputOut] = Field(
        description="The files and objects that the service writes because of `output` or a setting of the operator. "
        "Empty until the transcription is completed. Webhooks and callbacks are sent after they are written or have "
        "failed."
    )
    error: ErrorOut | None = Field(
        description="Why the job failed, or why the service cancelled it by itself. Otherwise null."
    )
    retry: RetryOut | None = Field(
        description="Why the job waits, if it does not only wait for its turn. Null unless its status is `pending`, "
        "and an attempt has ended or no worker can use its model at the moment."
    )
    warnings: list[WarningOut]
    redactions: dict[str, int] | None = Field(
        description="How many stretches of speech were taken out, by what they are, such as `PHONE`. Null if the "
        "request did not ask for it, and until the transcription is completed."
    )
    external_id: str | None
    tenant: str = Field(description="The tenant that the transcription belongs to.", examples=["default"])
    batch_id: UUID | None = Field(description="The recording batch that the job belongs to. Otherwise null.")
    retry_of: UUID | None = Field(
        description="The failed or cancelled transcription that this one retries. It may be deleted. Otherwise null."
    )
    retried_as: UUID | None = Field(
        description="The newest transcription that retries this one. Null if there is none, and in events."
    )
    metadata: dict[str, Any]
    created_at: datetime
    started_at: datetime | None = Field(description="When a worker first began to run the job. Null until then.")
    completed_at: datetime | None = Field(description="When the status became final. Null until then.")
    notified_at: datetime | None = Field(
        description="When the last receiver was notified. Null unless all receivers are notified."
    )
    timings: TimingsOut
    links: Links

    @classmethod
    def of(
        cls,
        job: Transcription,
        notify_state: NotifyState | None = None,
        output_statuses: Mapping[str, OutputStatus] | None = None,
        retried_as: UUID | None = None,
        *,
        is_analysed: bool = False,
        model_is_away: bool = False,
        root_path: str = "",
    ) -> Self:
        """What clients see of a job. Without a notify_state no receiver has been notified yet.

        `output_statuses` are those of its outputs, by URL. `retried_as` is its newest retry. `is_analysed` is whether
        it has an analysis, which may not be finished. `model_is_away` is whether no worker can use its model at the
        moment.

        Its links begin with `root_path`, under which a proxy may publish the service.
        """
        notify_state = notify_state or NotifyState()
        path = f"{root_path}/v1/transcriptions/{job.id}"
        error = (
            ErrorOut(code=job.error_code, message=job.error_message or "")
            if job.error_code and job.status in FINAL
            else None
        )
        queued = (job.started_at - job.created_at).total_seconds() if job.started_at else None
        return cls(
            id=job.id,
            status=job.status,
            notify_status=notify_state.status,
            audio=Audio.model_validate(job, from_attributes=True),
            options=OptionsOut.model_validate(shown_options(job.options, job.priority)),
            progress=job.progress,
            attempts=job.attempts,
            language=job.language,
            speakers=None if job.speakers is None else [SpeakerOut(**speaker) for speaker in job.speakers],
            outputs=_outputs(job, output_statuses or {}),
            error=error,
            retry=_retry(job, model_is_away=model_is_away),
            redactions=job.redactions,
            warnings=[WarningOut.model_validate(warning) for warning in job.warnings],
            external_id=job.external_id,
            tenant=job.tenant,
            batch_id=job.batch_id,
            retry_of=job.retry_of,
            retried_as=retried_as,
            metadata=job.metadata_,
            created_at=job.created_at,
            started_at=job.started_at,
            completed_at=job.completed_at,
            notified_at=notify_state.notified_at,
            timings=TimingsOut(queued=queued, decoding=job.decoding_seconds, transcribing=job.transcribing_seconds),
            links=Links(
                self=path,
                transcript=f"{path}/transcript",
                audio=f"{path}/audio" if job.audio_key else None,
                analysis=f"{path}/analysis" if is_analysed else None,
            ),
        )


def _outputs(job: Transcription, statuses: Mapping[str, OutputStatus]) -> list[OutputOut]:
    if job.status != Status.COMPLETED:
        return []
    return [
        OutputOut(url=file.url, format=file.format, status=statuses.get(file.url, OutputStatus.PENDING))
        for file in output_files(job)
    ]


def _retry(job: Transcription, *, model_is_away: bool) -> RetryOut | None:
    if job.status != Status.PENDING:
        return None
    if job.retry_code is not None:
        return RetryOut(code=job.retry_code, message=job.retry_message or "", at=job.run_at)
    return RetryOut(code=Unavailable.code, message=MODEL_AWAY_MESSAGE, at=job.run_at) if model_is_away else None


Mark = Annotated[list[int], Field(min_length=2, max_length=2)]


class HitOut(BaseModel):
    """Something that was said and has words that were searched for."""

    start: Seconds = Field(
        description="When the first of the words was said, in seconds from the start of the recording. It may be some "
        "seconds earlier, because it is the start of a segment."
    )
    speaker: str | None = Field(examples=["customer"], description=SPEAKER)
    text: str = Field(description="What was said there: the turn, or a part of a long turn.")
    marks: list[Mark] = Field(
        description="Where the words are in `text`: for each, the position of its first character and the position "
        "after its last one. Positions count Unicode characters (code points) from 0.",
        examples=[[[17, 23]]],
    )

    @classmethod
    def of(cls, hit: Hit) -> Self:
        return cls(start=hit.start, speaker=hit.speaker, text=hit.text, marks=[list(mark) for mark in hit.marks])


class ListedTranscription(TranscriptionOut):
    """A transcription of a list."""

    hits: list[HitOut] | None = Field(
        description="What was said that the list was searched for: up to three places. Null if the list was not "
        "searched with `q`."
    )
    hit_count: int | None = Field(
        description="How many places the transcription has in all. Null if the list was not searched with `q`."
    )

    @classmethod
    def with_hits(cls, shown: TranscriptionOut, found: Hits | None) -> "ListedTranscription":
        hits = None if found is None else [HitOut.of(hit) for hit in found.shown]
        count = None if found is None else found.count
        return ListedTranscription.model_construct(**dict(shown), hits=hits, hit_count=count)


class TranscriptionList(BaseModel):
    """One page of transcriptions."""

    items: list[ListedTranscription]
    next_cursor: str | None = Field(
        description="Send this value as `cursor` to get the next page. It is null on the last page. A page of a search "
        "may have fewer items than `limit`, or none, although there are more pages."
    )
