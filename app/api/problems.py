"""Every error answer in one shape: RFC 9457 `application/problem+json`."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.database.connections import DATABASE_TROUBLE, is_refusal, is_unexpected
from app.errors import (
    AppError,
    FieldError,
    Forbidden,
    InternalError,
    InvalidRequest,
    MethodNotAllowed,
    NotFound,
    Unauthorized,
    Unavailable,
)
from app.wording import in_words

MEDIA_TYPE = "application/problem+json"
AWAY = "The database, the audio store or the decoder cannot be used at the moment."
SEE_LOG = "The request id names this failure in the service's log."
GUARDED: tuple[type[AppError], ...] = (
    Unauthorized,
    Forbidden,
    Unavailable,
)  # the errors of every route that needs a key
METHODS = ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")
ONE, MANY = "<one>", "<many>"  # the branches of a union in pydantic's errors, which mean nothing to clients

log = structlog.stdlib.get_logger("callscribe.http")


class FieldProblem(BaseModel):
    """A field that was refused."""

    field: str
    detail: str


class Problem(BaseModel):
    """What went wrong. `code` is stable; `detail` is for people."""

    type: str = Field(examples=["urn:callscribe:error:not_found"])
    title: str
    status: int
    detail: str
    code: str = Field(examples=["not_found"])
    request_id: str
    errors: list[FieldProblem] | None = Field(default=None, description="The fields that were refused, and why.")


class ProblemResponse(JSONResponse):
    media_type = MEDIA_TYPE


def render(request: Request, error: AppError) -> Response:
    """The error as an answer. Its code also goes to the request's log line."""
    request.state.code = error.code
    problem = Problem(
        type=f"urn:callscribe:error:{error.code}",
        title=error.title,
        status=error.status,
        detail=error.detail,
        code=error.code,
        request_id=request.state.request_id,
        errors=[FieldProblem(field=field.field, detail=field.detail) for field in error.errors] or None,
    )
    headers = error.headers if error.retry_after is None else {**error.headers, "Retry-After": str(error.retry_after)}
    return ProblemResponse(problem.model_dump(exclude_none=True), error.status, headers)


def install(app: FastAPI) -> None:
    """Answer every error of the application as a problem. Middleware that is added later also sees these answers."""
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
        return render(request, NotFound(f"There is nothing at {request.url.path}."))
    return render(request, InvalidRequest("Some parameters are not valid.", errors=field_errors(details)))


def field_errors(errors: Any) -> tuple[FieldError, ...]:
    """Pydantic's errors as ours: each has a dotted field name and says what is wrong."""
    return tuple(
        FieldError(
            ".".join(str(part) for part in error["loc"] if part not in (ONE, MANY)) or "body",
            in_words(error),
        )
        for error in errors
    )


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    known: dict[int, Callable[[], AppError]] = {
        404: lambda: NotFound(f"There is nothing at {request.url.path}."),
        405: lambda: MethodNotAllowed(
            f"{request.method} is not answered here.", headers={"Allow": ", ".join(_allowed_methods(request))}
        ),
    }
    if error.status_code in known:
        return render(request, known[error.status_code]())
    return render(request, InvalidRequest(str(error.detail), headers=error.headers))


async def _disconnect(request: Request, error: Exception) -> Response:
    return Response(status_code=499)  # the client is gone; only the request's log line shows this status


def _allowed_methods(request: Request) -> list[str]:
    """The methods of all routes at the request's path. Starlette's own answer has only those of the first route."""

    def answered(method: str) -> bool:
        scope = {**request.scope, "method": method}
        return any(route.matches(scope)[0] is Match.FULL for route in request.app.routes)

    return [method for method in METHODS if answered(method)]


class UnexpectedErrorMiddleware:
    """ASGI middleware: logs an unexpected error and answers `internal_error`."""

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
            away = isinstance(error, DATABASE_TROUBLE) and not is_refusal(error)
            if away:
                path, surprise = scope.get("path"), is_unexpected(error)
                log.warning("database or store trouble", path=path, error=repr(error), exc_info=surprise)
            else:
                log.exception("unhandled error", path=scope.get("path"))
            if answering or scope["type"] != "http":
                raise
            answer = Unavailable(AWAY, retry_after=5) if away else InternalError(SEE_LOG)
            await render(Request(scope), answer)(scope, receive, send)


def responses(*errors: type[AppError]) -> dict[int | str, dict[str, Any]]:
    """OpenAPI's entries for the errors that a route may answer, one for each status."""
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


def _example(error: type[AppError]) -> dict[str, Any]:
    return {
        "type": f"urn:callscribe:error:{error.code}",
        "title": error.title,
        "status": error.status,
        "detail": error.title + ".",
        "code": error.code,
        "request_id": "01989d2e-7c1b-7f9e-8a54-2f0f6f1f9c3e",
    }
