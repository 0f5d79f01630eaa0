"""Says in a file or a message why a recording was refused: problem+json, as the API answers it. Pure."""

import json
from collections.abc import Iterator
from typing import Any

from app.errors import AppError, InternalError


def problem_of(error: AppError, **more: str) -> dict[str, Any]:
    """The members of the problem, and `more` members, such as the transcription."""
    problem: dict[str, Any] = {
        "type": f"urn:callscribe:error:{error.code}",
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
        "code": error.code,
    }
    if error.errors:
        problem["errors"] = [{"field": each.field, "detail": each.detail} for each in error.errors]
    return problem | more


def as_json(problem: dict[str, Any]) -> bytes:
    return json.dumps(problem, ensure_ascii=False, indent=2).encode(errors="replace") + b"\n"


def error_of(code: str | None, message: str | None) -> AppError:
    """The error that ended a job, from its code and its message. Codes of newer versions become InternalError."""
    kinds = {kind.code: kind for kind in _kinds(AppError) if hasattr(kind, "code")}
    return kinds.get(code or "", InternalError)(message or "")


def _kinds(error: type[AppError]) -> Iterator[type[AppError]]:
    yield error
    for below in error.__subclasses__():
        yield from _kinds(below)


def may_pass(error: AppError) -> bool:
    """Whether the same recording may be accepted later, because the trouble is the service's own."""
    return error.retry_after is not None or error.status >= 500
