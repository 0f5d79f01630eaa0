"""OpenAI's clients get the exception that fits, and repeat only what may pass on a second try."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import httpx2
import openai
import pytest
from fastapi import Request
from pydantic import JsonValue

from app.api.openai.errors import Failure, OpenAIError, failure_of, failure_of_job, speaks_openai
from app.api.problems import openai_responses, render, render_failure
from app.errors import (
    AlreadyFinal,
    AnalysisError,
    AppError,
    BadMedia,
    BadRequest,
    FieldError,
    FolderError,
    Forbidden,
    GpuOutOfMemory,
    IdempotencyKeyReused,
    InsufficientStorage,
    InternalError,
    InvalidRequest,
    JobError,
    MethodNotAllowed,
    ModelNotFound,
    NoAudio,
    NotAcceptable,
    NotCompleted,
    NotFailed,
    NotFound,
    NothingToAnalyse,
    QueueFull,
    QuotaExceeded,
    RangeNotSatisfiable,
    RecordingGone,
    RequestTimeout,
    ShuttingDown,
    TooLarge,
    TooLong,
    TranscriptionFailed,
    TryAgainLater,
    Unauthorized,
    Unavailable,
    UnsupportedMedia,
    UrlNotAllowed,
    WorkerCrashed,
)
from app.jobs.lifecycle import Status
from testing.service import Service, eventually

DOOR = "/v1/audio/transcriptions"


def kinds(root: type[AppError]) -> Iterator[type[AppError]]:
    for kind in root.__subclasses__():
        if hasattr(kind, "code"):
            yield kind
        yield from kinds(kind)


def refused(error: AppError | Failure) -> tuple[openai.APIError, int]:
    """What openai-python raises for this answer, and how many requests it has sent until then."""
    requests: list[httpx2.Request] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        requests.append(request)
        scope = {"type": "http", "path": DOOR, "state": {"request_id": "crm-48151"}}
        asked = Request(scope)
        response = render(asked, error) if isinstance(error, AppError) else render_failure(asked, error)
        headers = {**dict(response.headers), "X-Request-ID": "crm-48151"}
        return httpx2.Response(response.status_code, headers=headers, content=bytes(response.body))

    transport = httpx2.MockTransport(answer)
    with openai.OpenAI(
        api_key="x",
        base_url="http://callscribe.example/v1",
        max_retries=2,
        http_client=httpx2.Client(transport=transport),
    ) as client:
        client._sleep_for_retry = lambda **_: None  # type: ignore[method-assign]
        with pytest.raises(openai.APIError) as raised:
            client.audio.transcriptions.create(file=("call.wav", b"RIFF"), model="whisper-1")
    return raised.value, len(requests)


WRONG_LANGUAGE = InvalidRequest("The language is not known.", errors=(FieldError("language", "is not a language"),))
NO_FILE = InvalidRequest("There is no file.", errors=(FieldError("file", "is missing"),))


@pytest.mark.parametrize(
    ("error", "exception", "kind", "param", "code", "requests"),
    [
        (InvalidRequest(), openai.BadRequestError, "invalid_request_error", None, "invalid_request", 1),
        (WRONG_LANGUAGE, openai.BadRequestError, "invalid_request_error", "language", "unsupported_value", 1),
        (NO_FILE, openai.BadRequestError, "invalid_request_error", "file", "missing_required_parameter", 1),
        (BadRequest(), openai.BadRequestError, "invalid_request_error", None, "bad_request", 1),
        (UrlNotAllowed(), openai.BadRequestError, "invalid_request_error", None, "url_not_allowed", 1),
        (NoAudio(), openai.BadRequestError, "invalid_request_error", "file", "no_audio", 1),
        (BadMedia(), openai.BadRequestError, "invalid_request_error", "file", "bad_media", 1),
        (TooLong(), openai.BadRequestError, "invalid_request_error", "file", "too_long", 1),
        (Unauthorized(), openai.AuthenticationError, "invalid_request_error", None, "invalid_api_key", 1),
        (Forbidden(), openai.PermissionDeniedError, "invalid_request_error", None, "forbidden", 1),
        (NotFound(), openai.NotFoundError, "invalid_request_error", None, "not_found", 1),
        (ModelNotFound(), openai.NotFoundError, "invalid_request_error", "model", "model_not_found", 1),
        (QueueFull(retry_after=7), openai.RateLimitError, "rate_limit_error", None, "rate_limit_exceeded", 3),
        (InternalError(), openai.InternalServerError, "server_error", None, "internal_error", 3),
        (Unavailable(retry_after=5), openai.InternalServerError, "server_error", None, "unavailable", 3),
        (ShuttingDown(), openai.InternalServerError, "server_error", None, "shutting_down", 3),
        (InsufficientStorage(), openai.InternalServerError, "server_error", None, "insufficient_storage", 3),
        (TooLarge(), openai.APIStatusError, "invalid_request_error", "file", "too_large", 1),
        (UnsupportedMedia(), openai.APIStatusError, "invalid_request_error", "file", "unsupported_media", 1),
        (MethodNotAllowed(), openai.APIStatusError, "invalid_request_error", None, "method_not_allowed", 1),
        (RequestTimeout(), openai.APIStatusError, "timeout_error", None, "request_timeout", 3),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, AppError) else "",
)
def test_openai_python_raises_the_class_that_fits_and_repeats_what_may_pass(
    error: AppError, exception: type[openai.APIError], kind: str, param: str | None, code: str, requests: int
) -> None:
    raised, sent = refused(error)
    assert type(raised) is exception
    assert (raised.type, raised.param, raised.code, sent) == (kind, param, code, requests)
    assert isinstance(raised, openai.APIStatusError)
    assert raised.request_id == "crm-48151"
    assert error.detail in raised.message


@pytest.mark.parametrize(
    ("status", "code", "exception", "kind", "param"),
    [
        (Status.FAILED, BadMedia.code, openai.BadRequestError, "invalid_request_error", "file"),
        (Status.FAILED, UnsupportedMedia.code, openai.APIStatusError, "invalid_request_error", "file"),
        (Status.FAILED, NoAudio.code, openai.BadRequestError, "invalid_request_error", "file"),
        (Status.FAILED, TooLong.code, openai.BadRequestError, "invalid_request_error", "file"),
        (Status.FAILED, TranscriptionFailed.code, openai.InternalServerError, "server_error", None),
        (Status.FAILED, WorkerCrashed.code, openai.InternalServerError, "server_error", None),
        (Status.FAILED, GpuOutOfMemory.code, openai.InternalServerError, "server_error", None),
        (Status.CANCELLED, None, openai.ConflictError, "invalid_request_error", None),
        ("cancelled", None, openai.ConflictError, "invalid_request_error", None),
    ],
)
def test_a_job_that_ended_without_a_transcript_is_asked_for_only_once(
    status: str, code: str | None, exception: type[openai.APIError], kind: str, param: str | None
) -> None:
    message = "Why it ended." if code else None
    raised, sent = refused(failure_of_job(status, code, message))
    assert type(raised) is exception
    assert (raised.type, raised.param, raised.code, sent) == (kind, param, code or "cancelled", 1)
    assert (message or "cancelled") in raised.message


@pytest.mark.parametrize("kind", [kind for kind in kinds(AppError) if not issubclass(kind, JobError)])
def test_every_error_of_a_request_has_openais_shape(kind: type[AppError]) -> None:
    failure = failure_of(kind())
    OpenAIError.model_validate(failure.body, strict=True)
    assert list(failure.detail) == ["message", "type", "param", "code"]
    assert failure.status not in (422, 507), "openai-python has no class of ours for them"
    assert ("x-should-retry" in failure.headers) == (
        400 <= failure.status < 500 and (failure.status not in {408, 409, 429} or kind is QuotaExceeded)
    )


@pytest.mark.parametrize(("seconds", "repeats"), [(5, True), (60, True), (3600, False), (None, False)])
def test_a_quota_is_waited_for_only_if_that_is_not_long(seconds: int | None, repeats: bool) -> None:
    headers = failure_of(QuotaExceeded(retry_after=seconds)).headers
    assert ("x-should-retry" not in headers) == repeats


NOT_OF_THESE_PATHS = (
    AlreadyFinal,
    AnalysisError,
    FolderError,
    IdempotencyKeyReused,
    NotAcceptable,
    NotCompleted,
    NotFailed,
    NothingToAnalyse,
    RangeNotSatisfiable,
    RecordingGone,
    TryAgainLater,
    UrlNotAllowed,
)


def documented() -> dict[int, str]:
    """The rows of the table in the API guide, by status."""
    guide = Path("docs/api.md").read_text()
    table = guide.partition("### Errors for OpenAI's clients")[2].partition("## ")[0]
    return {int(status): row for row, status in re.findall(r"^(\| (\d{3}) \|.*)$", table, re.MULTILINE)}


@pytest.mark.parametrize(
    "failure",
    [
        *(failure_of(kind()) for kind in kinds(AppError) if not issubclass(kind, (JobError, *NOT_OF_THESE_PATHS))),
        *(
            failure_of_job(Status.FAILED, kind.code, "Why.")
            for kind in (TranscriptionFailed, WorkerCrashed, GpuOutOfMemory)
        ),
        failure_of_job(Status.CANCELLED, None, None),
        failure_of(WRONG_LANGUAGE),
        failure_of(NO_FILE),
    ],
    ids=lambda failure: failure.code,
)
def test_the_api_guide_names_each_error_with_its_status_and_type(failure: Failure) -> None:
    row = documented()[failure.status]
    assert f"`{failure.code}`" in row
    assert f"`{failure.type}`" in row
    assert f"`{type(refused(failure)[0]).__name__}`" in row


def test_an_answer_keeps_the_headers_of_its_error() -> None:
    assert failure_of(Unauthorized(headers={"WWW-Authenticate": "Bearer"})).headers["WWW-Authenticate"] == "Bearer"
    assert failure_of(MethodNotAllowed(headers={"Allow": "POST"})).headers["Allow"] == "POST"
    assert failure_of(QueueFull(retry_after=7)).headers == {"Retry-After": "7"}
    assert failure_of(InsufficientStorage()).headers == {"Retry-After": "60"}


def test_the_message_names_each_field_and_says_what_is_wrong_with_it() -> None:
    wrong = (FieldError("temperature", "must be a number"), FieldError("x" * 1000, "is not a field of this request"))
    failure = failure_of(InvalidRequest("Some fields are not valid.", errors=wrong))
    assert failure.param == "temperature"
    assert failure.message == (
        f"Some fields are not valid. temperature: must be a number; {'x' * 60}: is not a field of this request"
    )


def test_an_error_in_a_stream_is_raised_with_the_same_fields() -> None:
    failure = failure_of_job(Status.FAILED, "worker_crashed", "Every worker that ran this job crashed")

    def answer(request: httpx2.Request) -> httpx2.Response:
        events = [{"type": "transcript.text.delta", "delta": "Anna"}, failure.body]
        text = "".join(f"data: {json.dumps(event)}\n\n" for event in events)
        return httpx2.Response(200, headers={"Content-Type": "text/event-stream"}, text=text)

    transport = httpx2.MockTransport(answer)
    with openai.OpenAI(
        api_key="x", base_url="http://callscribe.example/v1", http_client=httpx2.Client(transport=transport)
    ) as client:
        stream = client.audio.transcriptions.create(file=("call.wav", b"RIFF"), model="whisper-1", stream=True)
        assert next(stream).type == "transcript.text.delta"
        with pytest.raises(openai.APIError, match="Every worker that ran this job crashed") as raised:
            next(stream)
    assert (raised.value.type, raised.value.code) == ("server_error", "worker_crashed")


def test_the_openapi_document_names_the_errors_as_they_are_answered() -> None:
    entries = openai_responses(Unauthorized, InvalidRequest, TooLong, QueueFull, InsufficientStorage, Unavailable)
    assert {status: entry["description"] for status, entry in entries.items()} == {
        400: "Bad Request: `invalid_request`, `too_long`",
        401: "Unauthorized: `invalid_api_key`",
        429: "Too Many Requests: `rate_limit_exceeded`",
        503: "Service Unavailable: `insufficient_storage`, `unavailable`",
    }
    for entry in entries.values():
        content = entry["content"]["application/json"]
        assert content["schema"] == {"$ref": "#/components/schemas/OpenAIError"}
        for example in content["examples"].values():
            OpenAIError.model_validate(example["value"], strict=True)


@pytest.mark.parametrize(
    ("path", "openais"),
    [
        ("/v1/audio/transcriptions", True),
        ("/v1/audio/speech", True),
        ("/v1/audio", True),
        ("/v1/transcribe", True),
        ("/v1/models/base", True),
        ("/v1/models/Systran/faster-whisper:tiny", True),
        ("/v1/models", False),
        ("/v1/modelsX", False),
        ("/v1/transcriptions", False),
        ("/v1/transcribed", False),
        ("/v1/audios", False),
        ("/", False),
    ],
)
def test_the_path_decides_the_shape_of_errors(path: str, openais: bool) -> None:
    assert speaks_openai(path) is openais


def answered(response: httpx.Response, status: int) -> dict[str, JsonValue]:
    assert (response.status_code, response.headers["Content-Type"]) == (status, "application/json")
    assert list(response.json()) == ["error"]
    OpenAIError.model_validate_json(response.content, strict=True)
    return dict(response.json()["error"])


def test_an_unknown_path_below_the_door_is_answered_in_openais_shape_and_logged(guarded: Service) -> None:
    response = guarded.client.get("/v1/audio/nothing", headers={"X-Request-ID": "openai-unknown-path"})
    assert answered(response, 404)["code"] == "not_found"
    assert (response.headers["X-Request-ID"], response.headers["x-should-retry"]) == ("openai-unknown-path", "false")

    def logged() -> list[dict[str, Any]]:
        return [json.loads(line) for line in guarded.log().splitlines() if "openai-unknown-path" in line]

    eventually(lambda: bool(logged()))
    (entry,) = logged()
    assert (entry["status"], entry["code"], entry["reason"]) == (
        404,
        "not_found",
        "There is no resource at /v1/audio/nothing.",
    )


def test_a_missing_key_and_a_wrong_method_keep_the_headers_of_their_errors(guarded: Service) -> None:
    strange = guarded.client.get("/v1/models/base", headers={"Authorization": "Bearer guess"})
    assert answered(strange, 401)["code"] == "invalid_api_key"
    assert strange.headers["WWW-Authenticate"] == "Bearer"
    wrong = guarded.client.delete("/v1/models/base")
    assert answered(wrong, 405)["code"] == "method_not_allowed"
    assert set(wrong.headers["Allow"].split(", ")) == {"GET", "HEAD"}


def test_a_refusal_before_any_route_has_openais_shape(guarded: Service) -> None:
    error = answered(guarded.client.get("/v1/audio/nothing", headers={"Host": "call scribe"}), 400)
    assert (error["code"], error["type"]) == ("bad_request", "invalid_request_error")


def test_the_list_of_models_answers_clients_of_both_kinds(guarded: Service) -> None:
    response = guarded.client.get("/v1/models", headers={"Authorization": "Bearer guess"})
    problem = response.json()
    assert (response.status_code, response.headers["Content-Type"]) == (401, "application/problem+json")
    assert (problem["code"], problem["status"]) == ("unauthorized", 401)
    assert problem["error"] == {
        "message": problem["detail"],
        "type": "invalid_request_error",
        "param": None,
        "code": "invalid_api_key",
    }
    assert "error" not in guarded.client.get("/v1/transcriptions", headers={"Authorization": "Bearer guess"}).json()


@pytest.mark.parametrize("path", ["/audio/transcriptions", "/v1/v1/audio/transcriptions", "/models"])
def test_a_client_with_a_wrong_base_url_reads_what_the_base_url_must_be(guarded: Service, path: str) -> None:
    answer = guarded.client.post(path) if "audio" in path else guarded.client.get(path)
    assert answer.headers["Content-Type"] == "application/problem+json"
    error = answer.json()["error"]
    assert error["message"] == answer.json()["detail"]
    assert error["message"].endswith("must be the address of the service, followed by `/v1`.")


def test_a_path_of_another_kind_gets_no_advice_about_a_base_url(guarded: Service) -> None:
    assert guarded.client.post("/v1/chat/completions").json()["error"]["message"] == (
        "There is no resource at /v1/chat/completions."
    )
