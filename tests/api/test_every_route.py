"""What holds for every route, also for those that are added later: HEAD, query parameters, and bodies."""

from pathlib import Path

import httpx
import pytest

from app.api.openai.errors import speaks_openai
from app.api.parameters import takes_body
from app.api.server.request_limits import GUARDED_PATHS
from app.database.connections import Database
from testing.forms import refused
from testing.listening import listening
from testing.routes import Route, all_routes
from testing.rows import SUCCESS, claim, enqueue, finish
from testing.service import Service

ROUTES = all_routes()
NO_BODY = [route for route in ROUTES if route.method != "GET" and not takes_body(route.declared)]
READS = [route for route in ROUTES if route.method == "GET" and route.template != "/metrics"]  # it counts its readers


@pytest.mark.parametrize("route", ROUTES, ids=str)
def test_an_unknown_query_parameter_is_refused(guarded: Service, route: Route) -> None:
    answer = guarded.client.request(route.method, route.path(), params={"extrenal_id": "x", "": ""})
    if speaks_openai(route.path()):
        assert "query" not in answer.text
        return
    problem = refused(answer, 422, "invalid_request")
    assert [error["field"] for error in problem["errors"]] == ["query.extrenal_id", "query."]
    near = "; did you mean external_id?" if str(route) == "GET /v1/transcriptions" else ""
    assert near in problem["errors"][0]["detail"]
    assert "is not a query parameter of this route" in problem["errors"][1]["detail"]


@pytest.mark.parametrize("route", [route for route in ROUTES if speaks_openai(route.path())], ids=str)
def test_a_field_in_the_query_is_refused_where_other_parameters_are_ignored(guarded: Service, route: Route) -> None:
    answer = guarded.client.request(route.method, route.path(), params={"language": "de", "api-version": "1"})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (400, "unsupported_value", "query.language")
    assert "query.language: is not a query parameter of this route" in error["message"]


@pytest.mark.parametrize("route", ROUTES, ids=str)
def test_a_query_parameter_is_refused_without_a_key_only_if_the_route_needs_none(
    guarded: Service, route: Route
) -> None:
    answer = guarded.client.request(route.method, route.path(), params={"x": "1"}, headers={"Authorization": ""})
    assert answer.status_code == (401 if route.template.startswith(GUARDED_PATHS) else 422)


@pytest.mark.parametrize(
    ("path", "query", "name"),
    [
        ("/v1/transcriptions", "limit=1&limit=2", "limit"),
        ("/v1/transcriptions", "order=newest&order=oldest", "order"),
        ("/v1/transcriptions", "metadata.agent=a&metadata.agent=b", "metadata.agent"),
        ("/v1/transcriptions/01989d2e-7c1b-7f9e-8a54-2f0f6f1f9c3e", "wait=0&wait=0", "wait"),
        ("/v1/transcriptions/01989d2e-7c1b-7f9e-8a54-2f0f6f1f9c3e/transcript", "format=srt&format=vtt", "format"),
    ],
)
def test_a_parameter_with_one_value_may_not_be_repeated(guarded: Service, path: str, query: str, name: str) -> None:
    problem = refused(guarded.client.get(f"{path}?{query}"), 422, "invalid_request")
    assert problem["errors"] == [{"field": f"query.{name}", "detail": "may appear only once"}]


def test_a_query_with_thousands_of_names_gets_a_short_answer(guarded: Service) -> None:
    query = "&".join(f"a{number}" for number in range(5000)) + "&" + "b" * 9000
    problem = refused(guarded.client.get(f"/v1/transcriptions?{query}"), 422, "invalid_request")
    assert len(problem["errors"]) == 10


def test_an_upload_with_its_fields_in_the_query_is_not_accepted(guarded: Service) -> None:
    answer = guarded.client.post("/v1/transcriptions?language=en", files={"file": ("call.wav", b"")})
    problem = refused(answer, 422, "invalid_request")
    assert "send fields of the request in its body" in problem["errors"][0]["detail"]
    assert guarded.read("/v1/transcriptions")["items"] == []


@pytest.mark.parametrize("route", NO_BODY, ids=str)
def test_a_route_without_a_body_refuses_one_and_sends_nobody_to_it(guarded: Service, route: Route) -> None:
    for body in (b'{"language": "en"}', b"{" + b" " * 100_000, b"{"):
        problem = refused(guarded.client.request(route.method, route.path(), content=body), 422, "invalid_request")
        expected = "must be empty, because this route takes no fields"
        assert problem["errors"] == [{"field": "body", "detail": expected}]
    without_key = {"Authorization": ""}
    answer = guarded.client.request(route.method, route.path(), content=b"x", headers=without_key)
    refused(answer, 401, "unauthorized")
    hint = guarded.client.request(route.method, route.path(), params={"language": "en"})
    assert "body" not in refused(hint, 422, "invalid_request")["errors"][0]["detail"]
    for empty in (b"", b"{}", b" {\n}\n"):
        answer = guarded.client.request(route.method, route.path(), content=empty)
        assert answer.status_code == (403 if route.template.startswith("/v1/keys") else 404)


async def test_head_has_the_headers_of_get_and_no_body(database: Database, tmp_path: Path) -> None:
    """It compares all routes for a completed job. The job has no recording, and nothing has the unknown ids."""
    await enqueue(database)
    [job] = await claim(database)
    await finish(database, job, SUCCESS)
    async with listening(database, tmp_path) as service:
        for path in {route.path(**ids) for route in READS for ids in ({}, {"transcription_id": str(job.id)})}:
            expected = await service.client.get(path, headers={"X-Request-ID": "same"})
            answer = await service.client.head(path, headers={"X-Request-ID": "same"})
            assert (answer.status_code, answer.content) == (expected.status_code, b"")
            assert without_date(answer.headers) == without_date(expected.headers)
            assert int(answer.headers["Content-Length"]) == len(expected.read())


def without_date(headers: httpx.Headers) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name != "date"}


def test_head_of_a_recording_has_its_length_and_ignores_a_range(guarded: Service) -> None:
    path = guarded.create()["links"]["audio"]
    whole = guarded.client.get(path)
    answer = guarded.client.head(path, headers={"Range": "bytes=0-9"})
    assert (answer.status_code, answer.headers["Content-Length"]) == (200, str(len(whole.content)))
    assert guarded.client.get(path, headers={"Range": "bytes=0-9"}).status_code == 206  # on the same connection


def test_head_follows_the_rules_of_get(guarded: Service) -> None:
    assert guarded.client.head("/v1/transcriptions", headers={"Authorization": ""}).status_code == 401
    assert guarded.client.head("/v1/unknown").status_code == 404
    cancel = guarded.client.head(f"{guarded.create()['links']['self']}/cancel")
    assert (cancel.status_code, cancel.headers["Allow"]) == (405, "POST")
    refusal = guarded.client.put("/v1/transcriptions")
    assert refusal.headers["Allow"] == "GET, HEAD, POST"
