"""What went wrong, as OpenAI's clients read it: `{"error": {"message", "type", "param", "code"}}`. Pure.

These clients choose the class of an exception by the status. They repeat a request after 408, 409, 429 and every status
from 500, unless the header `x-should-retry` says `false`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, Field

from app.errors import LONGEST_FIELD, AppError, MediaError, ModelNotFound, QuotaExceeded
from app.jobs.lifecycle import Status
from app.wording import OF_ERRORS

MEDIA_TYPE = "application/json"
OPENAI_PATHS = ("/v1/audio", "/v1/transcribe", "/v1/models")  # with all paths below them
MODELS_PATH = "/v1/models"  # answers problems with a member `error`, because clients of both kinds read it

_MEDIA = {kind.code: kind for kind in MediaError.__subclasses__()}
_STATUSES = {422: 400, 507: 503}
_TYPES = {408: "timeout_error", 429: "rate_limit_error"}
_CODES = {
    "unauthorized": "invalid_api_key",
    "queue_full": "rate_limit_exceeded",
    "rate_limited": "rate_limit_exceeded",
    "quota_exceeded": "insufficient_quota",
}
_REPEATED = frozenset({408, 409, 429})
_NO_RETRY = {"x-should-retry": "false"}
LONGEST_PATIENCE_SECONDS = 60  # these clients ignore a longer `Retry-After` and repeat the request immediately


class OpenAIErrorDetail(BaseModel):
    """What went wrong, in the shape of OpenAI's API."""

    message: str = Field(description="What went wrong in this request, and what to do.")
    type: str = Field(
        description="`invalid_request_error`, `rate_limit_error`, `timeout_error` or `server_error`.",
        examples=["invalid_request_error"],
    )
    param: str | None = Field(description="The name of the field that was refused, or null.", examples=["language"])
    code: str | None = Field(description="The kind of error.", examples=["unsupported_value"])


class OpenAIError(BaseModel):
    """An error in the shape of OpenAI's API."""

    error: OpenAIErrorDetail


@dataclass(frozen=True)
class Failure:
    """An answer that says what went wrong. `headers` says whether and when to repeat the request."""

    status: int
    message: str
    type: str
    param: str | None
    code: str
    headers: Mapping[str, str]

    @property
    def detail(self) -> dict[str, Any]:
        return {"message": self.message, "type": self.type, "param": self.param, "code": self.code}

    @property
    def body(self) -> dict[str, Any]:
        return {"error": self.detail}


def speaks_openai(path: str) -> bool:
    """Whether errors of this path have OpenAI's shape only. The path has no root path."""
    return path != MODELS_PATH and any(path == each or path.startswith(f"{each}/") for each in OPENAI_PATHS)


def failure_of(error: AppError) -> Failure:
    """An error that answers a request."""
    status = status_of(type(error))
    passes = status >= 500 or status in _REPEATED
    if isinstance(error, QuotaExceeded):
        passes = error.retry_after is not None and error.retry_after <= LONGEST_PATIENCE_SECONDS
    return Failure(
        status,
        error.reason,
        _TYPES.get(status) or ("server_error" if status >= 500 else "invalid_request_error"),
        _param(error),
        _code(error),
        {**error.answer_headers, **({} if passes else _NO_RETRY)},
    )


def failure_of_job(status: str, code: str | None, message: str | None) -> Failure:
    """The end of a job that has no transcript: its status, and the code and message that are stored with it.

    A second try would end in the same way. A job that was cancelled is a conflict, because somebody wanted its end.
    """
    if status == Status.CANCELLED:  # a job's row has a plain text
        text = "The transcription was cancelled while the request waited for it."
        return Failure(409, text, "invalid_request_error", None, "cancelled", _NO_RETRY)
    if code in _MEDIA:
        return failure_of(_MEDIA[code](message or ""))
    return Failure(500, message or "", "server_error", None, code or "", _NO_RETRY)


def status_of(error: type[AppError]) -> int:
    return _STATUSES.get(error.status, error.status)


def _param(error: AppError) -> str | None:
    if error.errors:
        return error.errors[0].field[:LONGEST_FIELD]
    if isinstance(error, MediaError):
        return "file"
    return "model" if isinstance(error, ModelNotFound) else None


def _code(error: AppError) -> str:
    if error.code == "invalid_request" and error.errors:
        missing = error.errors[0].detail == OF_ERRORS["missing"]
        return "missing_required_parameter" if missing else "unsupported_value"
    return _CODES.get(error.code, error.code)
