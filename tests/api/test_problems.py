"""Every error has one shape."""

import json
from typing import Any

import asyncpg
import httpx
import pytest

from app.errors import AppError
from testing.forms import FORM_TYPE
from testing.service import Service, eventually
from tests.conftest import ALICE

NOBODY = "/v1/transcriptions/01989d2e-7c1b-7f9e-8a54-2f0f6f1f9c3e"


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
    "path", ["/v1", "/v1/transcriptions/", "/v1/call", "/docs/static/..%2f..%2fetc", f"{NOBODY}/words"]
)
def test_an_unknown_path(guarded: Service, path: str) -> None:
    body = problem(guarded.client.get(path), 404, "not_found")
    assert "errors" not in body


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/v1/transcriptions", {"GET", "POST"}),
        ("PATCH", NOBODY, {"GET", "DELETE"}),
        ("GET", f"{NOBODY}/cancel", {"POST"}),
        ("POST", "/healthz", {"GET"}),
        ("TRACE", "/v1/models", {"GET"}),
    ],
)
def test_a_method_that_is_not_answered(guarded: Service, method: str, path: str, allowed: set[str]) -> None:
    response = guarded.client.request(method, path)
    problem(response, 405, "method_not_allowed")
    assert set(response.headers["Allow"].split(", ")) == allowed


def test_a_parameter_that_cannot_be(guarded: Service) -> None:
    body = problem(guarded.client.get("/v1/transcriptions?limit=0&status=done"), 422, "invalid_request")
    assert {error["field"] for error in body["errors"]} == {"query.limit", "query.status"}
    assert all(error["detail"] for error in body["errors"])


def test_other_errors(guarded: Service) -> None:
    stranger = {"Authorization": "Bearer guess"}
    problem(guarded.client.get("/v1/models", headers=stranger), 401, "unauthorized")
    problem(guarded.client.get(NOBODY), 404, "not_found")
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


def test_a_request_keeps_the_id_it_brought(guarded: Service) -> None:
    response = guarded.client.get(NOBODY, headers={"X-Request-ID": "crm-48151"})
    assert response.headers["X-Request-ID"] == response.json()["request_id"] == "crm-48151"
    eventually(lambda: '"request_id": "crm-48151"' in guarded.log())


def test_the_log_tells_what_was_refused_and_to_whom(guarded: Service) -> None:
    stranger = {"Authorization": "Bearer guess"}
    guarded.client.get(NOBODY, headers={"X-Request-ID": "known-caller"})
    guarded.client.get(NOBODY, headers=stranger | {"X-Request-ID": "unknown-caller"})
    guarded.client.get("/v1/models", headers={"X-Request-ID": "no-problem"})

    def logged(request_id: str) -> dict[str, Any]:
        (line,) = [line for line in guarded.log().splitlines() if f'"request_id": "{request_id}"' in line]
        return dict(json.loads(line))

    eventually(lambda: "no-problem" in guarded.log())
    known, unknown, fine = (logged(name) for name in ("known-caller", "unknown-caller", "no-problem"))
    assert (known["status"], known["code"], known["caller"]) == (404, "not_found", "alice")
    assert (unknown["status"], unknown["code"], "caller" in unknown) == (401, "unauthorized", False)
    assert (fine["status"], fine["caller"], "code" in fine) == (200, "alice", False)


@pytest.mark.parametrize("brought", ["", "x" * 129, "tab\tid", "é"])
def test_a_request_without_a_usable_id_gets_one(guarded: Service, brought: str) -> None:
    headers = [(b"X-Request-ID", brought.encode("latin-1"))]
    first, second = (guarded.client.get("/healthz", headers=headers).headers["X-Request-ID"] for _ in range(2))
    assert len(first) == 36
    assert first != second


def test_each_error_has_a_code_of_its_own() -> None:
    def leaves(error: type[AppError]) -> list[type[AppError]]:
        below = error.__subclasses__()
        return [leaf for each in below for leaf in leaves(each)] if below else [error]

    codes = [error.code for error in leaves(AppError)]
    assert len(set(codes)) == len(codes)
