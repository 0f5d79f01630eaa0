"""Answers errors as problems: RFC 9457 `application/problem+json`. On OpenAI's paths they have OpenAI's form instead.

All errors come here, from routes, middlewares and connections, so that a client reads one form on each path.
"""

from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, HTTPConnection
from starlette.responses import JSONResponse, Response
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.live.closing import close_code
from app.api.openai import errors as openai
from app.database.connections import DATABASE_TROUBLE, is_refusal, is_unexpected
from app.errors import (
    AppError,
    BadMedia,
    Forbidden,
    InsufficientStorage,
    IntakePaused,
    InternalError,
    InvalidRequest,
    MethodNotAllowed,
    NoAudio,
    NotFound,
    QueueFull,
    QuotaExceeded,
    RateLimited,
    RequestTimeout,
    ShuttingDown,
    TooLarge,
    TooLong,
    Unauthorized,
    Unavailable,
    UnsupportedMedia,
    UrlNotAllowed,
    field_errors,
)

MEDIA_TYPE = "application/problem+json"
UNAVAILABLE_DETAIL = "The database, the audio store or the decoder cannot be used at the moment."
INTERNAL_ERROR_DETAIL = "The service's log says why, under the `request_id` of this answer."
# Every route that needs a key may answer these errors.
COMMON_ERRORS: tuple[type[AppError], ...] = (Unauthorized, Forbidden, InvalidRequest, RateLimited, Unavailable)
ERROR_SCHEMA = {"$ref": "#/components/schemas/OpenAIError"}
# Every route that makes a transcription may answer these errors too.
JOB_ERRORS: tuple[type[AppError], ...] = (
    UrlNotAllowed,
    QueueFull,
    QuotaExceeded,
    InsufficientStorage,
    IntakePaused,
    ShuttingDown,
)
# And those that take a recording.
UPLOAD_ERRORS: tuple[type[AppError], ...] = (
    RequestTimeout,
    TooLarge,
    UnsupportedMedia,
    NoAudio,
    BadMedia,
    TooLong,
    *JOB_ERRORS,
)
METHODS = ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")

log = structlog.stdlib.get_logger("callscribe.http")


class FieldProblem(BaseModel):
    """A field that was refused, and why."""

    field: str = Field(description="The name of the field, with dots between the names of nested fields.")
    detail: str = Field(description="What is wrong with the field.")


class Problem(BaseModel):
    """An error. Programs should look at `code`. The texts are for people and may change."""

    type: str = Field(description="A URN with the `code`.", examples=["urn:callscribe:error:not_found"])
    title: str = Field(description="What the `code` means, in words.")
    status: int = Field(description="The HTTP status of this answer.")
    detail: str = Field(description="What went wrong in this request.")
    code: str = Field(description="The kind of error. Its name never changes.", examples=["not_found"])
    request_id: str = Field(description="The id of this request in the service's log. Quote it to the operator.")
    errors: list[FieldProblem] | None = Field(default=None, description="The fields that were refused, and why.")
    error: openai.OpenAIErrorDetail | None = Field(
        default=None,
        description="The same error for OpenAI's clients. Only `/v1/models` and paths without a route have it.",
    )


class ProblemResponse(JSONResponse):
    media_type = MEDIA_TYPE


def render(request: HTTPConnection, error: AppError) -> Response:
    """Returns the error as an answer, and keeps its code and its reason for the request's log line.

    The path of the request decides whether the answer is a problem or has the form of OpenAI's errors. At a path
    without a route it is both, because a client of OpenAI's API with a wrong base URL should learn of its mistake.
    """
    request.state.code, request.state.reason = error.code, error.reason
    path = request.scope["path"]
    if openai.speaks_openai(path):
        return _openai_response(openai.failure_of(error))
    problem = _problem(error, request.state.request_id)
    if path == openai.MODELS_PATH or "route" not in request.scope:
        problem |= openai.failure_of(error).body
    return ProblemResponse(problem, error.status, error.answer_headers)


def render_failure(request: Request, failure: openai.Failure) -> Response:
    """Returns a failure as an answer in the form of OpenAI's errors, and keeps its code and message for the log."""
    request.state.code, request.state.reason = failure.code, failure.message
    return _openai_response(failure)


def _openai_response(failure: openai.Failure) -> Response:
    return JSONResponse(failure.body, failure.status, failure.headers)


def raw_answer(error: AppError, request_id: str) -> bytes:
    """Returns the bytes of an answer, for a connection without a request that could reach the application."""
    answer = ProblemResponse(_problem(error, request_id), error.status, {**error.answer_headers, "Connection": "close"})
    head = b"".join(b"%b: %b\r\n" % header for header in answer.raw_headers)
    status = f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}\r\n"
    return status.encode() + head + b"\r\n" + bytes(answer.body)


def _problem(error: AppError, request_id: str) -> dict[str, Any]:
    return Problem(
        type=f"urn:callscribe:error:{error.code}",
        title=error.title,
        status=error.status,
        detail=error.detail,
        code=error.code,
        request_id=request_id,
        errors=[FieldProblem(field=field.field, detail=field.detail) for field in error.errors] or None,
    ).model_dump(exclude_none=True)


def install(app: FastAPI) -> None:
    """Makes the application answer errors in this form. Middlewares that are added later see these answers too."""
    app.add_exception_handler(AppError, _app_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(ClientDisconnect, _disconnect)
    app.add_middleware(UnexpectedErrorMiddleware)


async def _app_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, AppError)
    return render(request, error)


async def _validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    details = error.errors()
    if all(detail["loc"][0] == "path" for detail in details):
        return render(request, NotFound(f"There is no resource at {request.url.path}."))
    return render(request, InvalidRequest("Some parameters are not valid.", errors=field_errors(details)))


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    known: dict[int, Callable[[], AppError]] = {
        404: lambda: NotFound(f"There is no resource at {request.url.path}.{_hint_for_openai(request)}"),
        405: lambda: MethodNotAllowed(
            f"The path {request.url.path} does not support {request.method}.",
            headers={"Allow": ", ".join(_allowed_methods(request))},
        ),
    }
    if error.status_code in known:
        return render(request, known[error.status_code]())
    return render(request, InvalidRequest(str(error.detail), headers=error.headers))


def _hint_for_openai(request: Request) -> str:
    """Returns what to say to a client of OpenAI's API that has a wrong base URL."""
    resources = ("/audio/transcriptions", "/audio/translations", "/models")
    if not request.scope["path"].endswith(resources):
        return ""
    return " The base URL of a client of OpenAI's API must be the address of the service, followed by `/v1`."


async def _disconnect(request: Request, error: Exception) -> Response:
    return Response(status_code=499)  # the client has hung up, so only the log shows this status


def _allowed_methods(request: Request) -> list[str]:
    """Returns the methods of all routes at the request's path. Starlette would name only those of the first route.

    HEAD is answered wherever GET is (`server.head_requests`).
    """

    def answered(method: str) -> bool:
        scope = {**request.scope, "method": "GET" if method == "HEAD" else method}
        return any(route.matches(scope)[0] is Match.FULL for route in request.app.routes)

    return [method for method in METHODS if answered(method)]


class UnexpectedErrorMiddleware:
    """An ASGI middleware that logs an error that no handler knows, and answers it.

    The answer is `unavailable` if the database or the store is in trouble, and `internal_error` otherwise.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answering = False

        async def watched_send(message: Message) -> None:
            nonlocal answering
            answering = True
            await send(message)

        try:
            await self.app(scope, receive, watched_send)
        except Exception as error:
            # The store and the decoder raise an OSError too, StoreUnavailable and DecoderUnavailable.
            unavailable = isinstance(error, (*DATABASE_TROUBLE, OSError)) and not is_refusal(error)
            if unavailable:
                path, unexpected = scope.get("path"), is_unexpected(error)
                log.warning("database or store trouble", path=path, error=repr(error), exc_info=unexpected)
            else:
                log.exception("unhandled error", path=scope.get("path"))
            answer = (
                Unavailable(UNAVAILABLE_DETAIL, retry_after=5) if unavailable else InternalError(INTERNAL_ERROR_DETAIL)
            )
            if answering and scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": close_code(answer)})
            elif answering:
                raise
            else:
                await render(HTTPConnection(scope), answer)(scope, receive, send)


def responses(*errors: type[AppError] | AppError) -> dict[int | str, dict[str, Any]]:
    """Returns the entries of the OpenAPI document for the errors that a route may answer, one for each HTTP status.

    A route whose error has a title of its own gives an error instead of its class.
    """
    entries: dict[int | str, dict[str, Any]] = {}
    for status in sorted({error.status for error in errors}):
        same = [error for error in errors if error.status == status]
        entries[status] = {
            "description": HTTPStatus(status).phrase + ": " + ", ".join(f"`{error.code}`" for error in same),
            "content": {
                MEDIA_TYPE: {
                    "schema": {"$ref": "#/components/schemas/Problem"},
                    "examples": {error.code: {"value": _example(error)} for error in same},
                }
            },
        }
    return entries


def _example(error: type[AppError] | AppError) -> dict[str, Any]:
    return {
        "type": f"urn:callscribe:error:{error.code}",
        "title": error.title,
        "status": error.status,
        "detail": error.detail if isinstance(error, AppError) else error.title + ".",
        "code": error.code,
        "request_id": "01989d2e-7c1b-7f9e-8a54-2f0f6f1f9c3e",
    }


def openai_responses(*errors: type[AppError], more: Iterable[openai.Failure] = ()) -> dict[int | str, dict[str, Any]]:
    """Returns the entries of the OpenAPI document for the errors of a route that OpenAI's clients use.

    `more` are the answers that no class of errors stands for.
    """
    entries: dict[int | str, dict[str, Any]] = {}
    failures = [*(openai.failure_of(error()) for error in errors), *more]
    for status in sorted({failure.status for failure in failures}):
        same = [failure for failure in failures if failure.status == status]
        headers = {name for failure in same for name in failure.headers} | ({"Retry-After"} if status == 429 else set())
        codes = dict.fromkeys(failure.code for failure in same)  # two errors of ours may have one code of OpenAI's
        entries[status] = {
            "description": HTTPStatus(status).phrase + ": " + ", ".join(f"`{code}`" for code in codes),
            "headers": {name: _HEADERS_OF_FAILURES[name] for name in sorted(headers)},
            "content": {
                openai.MEDIA_TYPE: {
                    "schema": ERROR_SCHEMA,
                    "examples": {failure.code: {"value": failure.body} for failure in same},
                }
            },
        }
    return entries


_HEADERS_OF_FAILURES = {
    "Retry-After": {
        "description": "The number of seconds after which you should repeat the request.",
        "schema": {"type": "integer"},
    },
    "x-should-retry": {
        "description": "`false` if a second try would get the same answer. Otherwise the header is missing.",
        "schema": {"type": "string", "enum": ["false"]},
    },
}
