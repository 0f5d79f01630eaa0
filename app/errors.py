"""Every error that a client can see, with the one code that names it everywhere.

HTTP problems, `transcription.error` and webhooks all use the same code. This module must not know HTTP libraries.

    AppError
    ├── RequestError            answers a request, with its HTTP status
    │   ├── BadRequest              bad_request              400
    │   ├── InvalidRequest          invalid_request          422
    │   ├── Unauthorized            unauthorized             401
    │   ├── Forbidden               forbidden                403
    │   ├── NotFound                not_found                404
    │   ├── ModelNotFound           model_not_found          404
    │   ├── MethodNotAllowed        method_not_allowed       405
    │   ├── NotAcceptable           not_acceptable           406
    │   ├── RequestTimeout          request_timeout          408
    │   ├── AlreadyFinal            already_final            409
    │   ├── NotCompleted            not_completed            409
    │   ├── NotFailed               not_failed               409
    │   ├── NothingToAnalyse        nothing_to_analyse       409
    │   ├── RecordingGone           recording_gone           409
    │   ├── IdempotencyKeyReused    idempotency_key_reused   422
    │   ├── UrlNotAllowed           url_not_allowed          422
    │   ├── RangeNotSatisfiable     range_not_satisfiable    416
    │   ├── QueueFull               queue_full               429
    │   ├── RateLimited             rate_limited             429
    │   ├── QuotaExceeded           quota_exceeded           429
    │   ├── ShuttingDown            shutting_down            503
    │   ├── Unavailable             unavailable              503
    │   ├── TryAgainLater           try_again_later          503
    │   ├── IntakePaused            intake_paused            503
    │   ├── InsufficientStorage     insufficient_storage     507
    │   └── InternalError           internal_error           500
    ├── MediaError              answers an upload, with its HTTP status, or ends a job
    │   ├── TooLarge                too_large                413
    │   ├── UnsupportedMedia        unsupported_media        415
    │   ├── NoAudio                 no_audio                 422
    │   ├── BadMedia                bad_media                422
    │   └── TooLong                 too_long                 422
    ├── JobError                ends a job, and is never the answer to a request
    │   ├── FetchFailed             fetch_failed
    │   ├── TranscriptionFailed     transcription_failed
    │   ├── WorkerCrashed           worker_crashed
    │   ├── Abandoned               abandoned
    │   └── GpuOutOfMemory          gpu_out_of_memory
    ├── AnalysisError           ends an analysis, and is never the answer to a request
    │   ├── JudgementUnavailable    judgement_unavailable
    │   ├── JudgementRefused        judgement_refused
    │   └── JudgementUnfit          judgement_unfit
    └── FolderError             says why a watched folder puts the recording of a completed job aside
        ├── OutputFailed            output_failed
        └── RecordingChanged        recording_changed
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from app import wording

LONGEST_FIELD = 60  # a client chooses the names of unknown fields


@dataclass(frozen=True)
class FieldError:
    """Names a field of a refused request, and says what is wrong with it."""

    field: str
    detail: str


def field_errors(errors: Iterable[Any]) -> tuple[FieldError, ...]:
    """Turns pydantic's errors into ours. Each has the field's name, with dots for nested fields, and what is wrong."""
    return tuple(
        FieldError(
            ".".join(str(part) for part in error["loc"] if part not in wording.OF_BRANCHES) or "body",
            wording.in_words(error),
        )
        for error in errors
    )


class AppError(Exception):
    """A failure that a client can see. `detail` is shown to the client, so it holds no secret and no transcript text.

    `title` says what the code means. A failure whose code means several things may have a title of its own.

    If it is `transient`, the cause may go away by itself, so the job is tried again. `retry_after` is the number of
    seconds after which a client should repeat its request, or None.
    """

    code: ClassVar[str]
    title: str
    status: ClassVar[int] = 500
    transient = False
    retry_after: int | None = None

    def __init__(
        self,
        detail: str = "",
        *,
        retry_after: int | None = None,
        headers: Mapping[str, str] | None = None,
        errors: tuple[FieldError, ...] = (),
        title: str | None = None,
    ) -> None:
        self.title = title or self.title
        super().__init__(detail or self.title)
        self.detail = detail or self.title
        self.retry_after = self.retry_after if retry_after is None else retry_after
        self.headers = dict(headers or {})
        self.errors = errors

    @property
    def reason(self) -> str:
        """The detail, and what is wrong with each field, in one text."""
        fields = "; ".join(f"{each.field[:LONGEST_FIELD]}: {each.detail}" for each in self.errors)
        return f"{self.detail} {fields}" if fields else self.detail

    @property
    def answer_headers(self) -> Mapping[str, str]:
        """The headers of the answer, with `Retry-After` if the request should be repeated."""
        return self.headers if self.retry_after is None else {**self.headers, "Retry-After": str(self.retry_after)}


class RequestError(AppError):
    pass


class BadRequest(RequestError):
    code, title, status = "bad_request", "The request is not valid HTTP", 400


class InvalidRequest(RequestError):
    code, title, status = "invalid_request", "The request is not valid", 422


class Unauthorized(RequestError):
    code, title, status = "unauthorized", "A valid API key is needed", 401


class Forbidden(RequestError):
    code, title, status = "forbidden", "This request is not allowed", 403


class NotFound(RequestError):
    code, title, status = "not_found", "There is no such resource", 404


class ModelNotFound(RequestError):
    """Only routes that are shaped like OpenAI's raise it, because OpenAI's clients know this code."""

    code, title, status = "model_not_found", "There is no model of this name", 404


class MethodNotAllowed(RequestError):
    code, title, status = "method_not_allowed", "The resource does not support this method", 405


class NotAcceptable(RequestError):
    code, title, status = "not_acceptable", "The transcript is not available in an accepted media type", 406


class RequestTimeout(RequestError):
    code, title, status = "request_timeout", "The request's body arrived too slowly", 408


class AlreadyFinal(RequestError):
    code, title, status = "already_final", "The transcription or batch has already ended", 409


class NotCompleted(RequestError):
    code, title, status = "not_completed", "The transcription or batch is not completed", 409


class NotFailed(RequestError):
    code, title, status = "not_failed", "The transcription has neither failed nor been cancelled", 409


class NothingToAnalyse(RequestError):
    code, title, status = "nothing_to_analyse", "There is nothing by which the call could be analysed", 409


class RecordingGone(RequestError):
    code, title, status = "recording_gone", "The recording of the transcription is not kept any more", 409


class IdempotencyKeyReused(RequestError):
    code, title, status = "idempotency_key_reused", "The idempotency key was used for another request", 422


class UrlNotAllowed(RequestError):
    code, title, status = "url_not_allowed", "The URL is not allowed", 422


class RangeNotSatisfiable(RequestError):
    code, title, status = "range_not_satisfiable", "The recording does not have the requested bytes", 416


class QueueFull(RequestError):
    code, title, status = "queue_full", "Too many transcriptions are waiting", 429


class RateLimited(RequestError):
    code, title, status = "rate_limited", "Too many requests were sent in a minute", 429


class QuotaExceeded(RequestError):
    code, title, status = "quota_exceeded", "The API key or its tenant has used what it may use", 429


class ShuttingDown(RequestError):
    code, title, status = "shutting_down", "The service is stopping", 503


class Unavailable(RequestError):
    code, title, status = "unavailable", "The service cannot do this at the moment", 503


class TryAgainLater(RequestError):
    """There is no place for one more live call. It has a `retry_after` always."""

    code, title, status = "try_again_later", "There is no place for one more live call", 503


class IntakePaused(RequestError):
    """An operator has paused the intake. It has a `retry_after` always."""

    code, title, status = "intake_paused", "The service accepts no new transcriptions at the moment", 503


class InsufficientStorage(RequestError):
    code, title, status = "insufficient_storage", "The service has no room for recordings at the moment", 507
    retry_after = 60


class InternalError(RequestError):
    code, title, status = "internal_error", "The service has a fault", 500


class MediaError(AppError):
    pass


class TooLarge(MediaError):
    code, title, status = "too_large", "The recording or the request has too many bytes", 413


class UnsupportedMedia(MediaError):
    code, title, status = "unsupported_media", "This cannot be read as a recording", 415


class NoAudio(MediaError):
    code, title, status = "no_audio", "The file has no audio track", 422


class BadMedia(MediaError):
    code, title, status = "bad_media", "The recording is broken", 422


class TooLong(MediaError):
    code, title, status = "too_long", "The recording is too long", 422


class JobError(AppError):
    pass


class FetchFailed(JobError):
    """The service could not fetch the recording from its URL. `transient` says whether another try may succeed.

    `not_ready` says that the recording is not at its address, but may come there soon, because some phone systems send
    the address before they have written the recording. Then another try may succeed too.
    """

    code, title = "fetch_failed", "The recording could not be fetched"

    def __init__(self, detail: str = "", *, transient: bool = False, not_ready: bool = False) -> None:
        super().__init__(detail)
        self.transient = transient or not_ready
        self.not_ready = not_ready


class TranscriptionFailed(JobError):
    code, title = "transcription_failed", "The recording could not be transcribed"


class WorkerCrashed(JobError):
    code, title = "worker_crashed", "Every worker that ran this job crashed"


class GpuOutOfMemory(JobError):
    code, title = "gpu_out_of_memory", "The GPU does not have enough memory for this recording"
    transient = True  # because another program may use the GPU's memory for a while


class Abandoned(JobError):
    """The service cancelled the job, because the client that waited for it on its connection hung up."""

    code, title = "abandoned", "No client waited for the transcription any more"


class AnalysisError(AppError):
    pass


class JudgementUnavailable(AnalysisError):
    """The language model did not answer, or its server had no room for the request."""

    code, title = "judgement_unavailable", "The language model cannot be reached at the moment"
    transient = True


class JudgementRefused(AnalysisError):
    """The server of the language model refuses the request. It is tried again, because an operator may correct that."""

    code, title = "judgement_refused", "The server of the language model refuses the request"
    transient = True


class JudgementUnfit(AnalysisError):
    """The model answered twice with something that is no judgement."""

    code, title = "judgement_unfit", "The answer of the language model cannot be used"


class FolderError(AppError):
    pass


class OutputFailed(FolderError):
    code, title = "output_failed", "The outputs of the transcription could not be written"


class RecordingChanged(FolderError):
    code, title = "recording_changed", "The recording changed after it had been accepted"
