"""All errors have the same shape."""

import json
from typing import Any

import asyncpg
import httpx
import pytest

from app.errors import AppError
from testing.forms import FORM_TYPE
from testing.recordings import tone
from testing.service import Service, eventually
from tests.conftest import ALICE

UNKNOWN_JOB = "/v1/transcriptions/01989d2e-7c1b-7f9e-8a54-2f0f6f1f9c3e"


def problem(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    body: dict[str, Any] = response.json()
    assert response.status_code == body["status"] == status
    assert response.headers["Content-Type"] == "application/problem+json"
    assert body["code"] == code
    assert body["type"] == f"urn:callscribe:error:{code}"
    assert body["request_id"] == response.headers["X-Request-ID"]
    assert body["title"]
    assert body["detail"]
    return body


@pytest.mark.parametrize(
    "path", ["/v1", "/v1/transcriptions/", "/v1/call", "/docs/static/..%2f..%2fetc", f"{UNKNOWN_JOB}/words"]
)
def test_an_unknown_path_is_a_problem(guarded: Service, path: str) -> None:
    body = problem(guarded.client.get(path), 404, "not_found")
    assert "errors" not in body


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/v1/transcriptions", {"GET", "HEAD", "POST"}),
        ("PATCH", UNKNOWN_JOB, {"GET", "HEAD", "DELETE"}),
        ("GET", f"{UNKNOWN_JOB}/cancel", {"POST"}),
        ("POST", "/healthz", {"GET", "HEAD"}),
        ("TRACE", "/v1/models", {"GET", "HEAD"}),
    ],
)
def test_a_method_that_a_path_does_not_have_is_a_problem(
    guarded: Service, method: str, path: str, allowed: set[str]
) -> None:
    response = guarded.client.request(method, path)
    problem(response, 405, "method_not_allowed")
    assert set(response.headers["Allow"].split(", ")) == allowed


def test_an_invalid_parameter_is_a_problem(guarded: Service) -> None:
    body = problem(guarded.client.get("/v1/transcriptions?limit=0&status=done"), 422, "invalid_request")
    assert {error["field"] for error in body["errors"]} == {"query.limit", "query.status.0"}
    assert all(error["detail"] for error in body["errors"])


def test_other_errors_are_problems_too(guarded: Service) -> None:
    stranger = {"Authorization": "Bearer guess"}
    problem(guarded.client.get("/v1/models", headers=stranger), 401, "unauthorized")
    problem(guarded.client.get(UNKNOWN_JOB), 404, "not_found")
    problem(guarded.client.post("/v1/transcriptions"), 415, "unsupported_media")
    too_long = {"Content-Type": FORM_TYPE, "Content-Length": "1000000"}
    problem(guarded.client.post("/v1/transcriptions", headers=too_long, content=b"x" * 1_000_000), 413, "too_large")


async def test_an_unexpected_error_is_answered_without_details(guarded: Service, guarded_database: str) -> None:
    database = await asyncpg.connect(guarded_database)
    await database.execute("ALTER TABLE transcription RENAME TO mislaid")
    try:
        response = guarded.client.get("/v1/transcriptions", headers={"X-Request-ID": "unforeseen"})
        eventually(lambda: guarded.client.get("/readyz").status_code == 503)
        readiness = guarded.client.get("/readyz")
    finally:
        await database.execute("ALTER TABLE mislaid RENAME TO transcription")
        await database.close()
    assert "transcription" not in problem(response, 500, "internal_error")["detail"]
    assert (readiness.status_code, readiness.json()["reasons"]) == (503, ["database: ProgrammingError"])
    (logged,) = [json.loads(line) for line in guarded.log().splitlines() if "unhandled error" in line]
    assert logged["request_id"] == "unforeseen"
    assert "UndefinedTableError" in json.dumps(logged["exception"])
    assert ALICE not in json.dumps(logged)


def test_a_request_keeps_the_id_that_its_client_sent(guarded: Service) -> None:
    response = guarded.client.get(UNKNOWN_JOB, headers={"X-Request-ID": "crm-48151"})
    assert response.headers["X-Request-ID"] == response.json()["request_id"] == "crm-48151"
    eventually(lambda: '"request_id": "crm-48151"' in guarded.log())


def test_the_log_names_the_error_and_the_caller_of_a_refused_request(guarded: Service) -> None:
    stranger = {"Authorization": "Bearer guess"}
    guarded.client.get(UNKNOWN_JOB, headers={"X-Request-ID": "known-caller"})
    guarded.client.get(UNKNOWN_JOB, headers=stranger | {"X-Request-ID": "unknown-caller"})
    guarded.client.get("/v1/models", headers={"X-Request-ID": "no-problem"})

    def logged(request_id: str) -> dict[str, Any]:
        (line,) = [line for line in guarded.log().splitlines() if f'"request_id": "{request_id}"' in line]
        return dict(json.loads(line))

    eventually(lambda: "no-problem" in guarded.log())
    known, unknown, fine = (logged(name) for name in ("known-caller", "unknown-caller", "no-problem"))
    assert (known["status"], known["code"], known["caller"]) == (404, "not_found", "alice")
    assert (unknown["status"], unknown["code"], "caller" in unknown) == (401, "unauthorized", False)
    assert (fine["status"], fine["caller"], "code" in fine) == (200, "alice", False)


@pytest.mark.parametrize("sent", ["", "x" * 129, "tab\tid", "é"])
def test_a_request_without_a_usable_id_gets_one(guarded: Service, sent: str) -> None:
    headers = [(b"X-Request-ID", sent.encode("latin-1"))]
    first, second = (guarded.client.get("/healthz", headers=headers).headers["X-Request-ID"] for _ in range(2))
    assert len(first) == 36
    assert first != second


def test_each_error_has_its_own_code() -> None:
    def leaves(error: type[AppError]) -> list[type[AppError]]:
        below = error.__subclasses__()
        return [leaf for each in below for leaf in leaves(each)] if below else [error]

    codes = [error.code for error in leaves(AppError)]
    assert len(set(codes)) == len(codes)


def test_the_log_says_why_a_request_was_refused(guarded: Service) -> None:
    guarded.post(b"Dear colleagues, this is no recording.\n")
    guarded.post(tone(), sample_rate="8000")
    eventually(lambda: '"reason": "The file is text, not a recording"' in guarded.log())
    eventually(lambda: '"reason": "Some fields are not valid. sample_rate: needs the field encoding' in guarded.log())
