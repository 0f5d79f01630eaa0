"""What the OpenAPI document says of the OpenAI-shaped routes is what the running service sends and reads."""

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import jsonschema_rs
import pytest

from app.api.openai import schemas
from app.api.openai.errors import failure_of, status_of
from app.api.openai.fields import LISTS, OWN, SHAPE, SINGLE
from app.errors import AppError, NoAudio
from testing.recordings import call, tone
from testing.routes import openapi_document
from testing.service import Service

DOCUMENT = openapi_document()
COMPONENTS = DOCUMENT["components"]["schemas"]
TRANSCRIPTIONS, TRANSLATIONS, TRANSCRIBE = "/v1/audio/transcriptions", "/v1/audio/translations", "/v1/transcribe"
BOTH: Any = ["word", "segment"]
KINDS = ("transcript.text.delta", "transcript.text.segment", "transcript.text.done")
API = (Path(__file__).parents[3] / "docs" / "api.md").read_text()


def post(service: Service, path: str = TRANSCRIPTIONS, recording: bytes | None = None, **fields: Any) -> httpx.Response:
    """Asks for separate channels, so that most requests of these tests get the transcription of the first one."""
    part = "audio" if path == TRANSCRIBE else "file"
    files = {part: ("call.wav", call(0, 3) if recording is None else recording)}
    return service.client.post(path, files=files, data={"channels": "split", **fields}, timeout=60)


def events_of(answer: httpx.Response) -> list[dict[str, Any]]:
    return [json.loads(line.removeprefix("data: ")) for line in answer.text.splitlines() if line.startswith("data: ")]


def require_fits(name: str, body: Any) -> None:
    schema = {"$ref": f"#/components/schemas/{name}", "components": DOCUMENT["components"]}
    jsonschema_rs.validate(schema, body)


def members(value: Any, path: str = "") -> Iterator[str]:
    """Yields every member of a body, such as `segments.start`."""
    if isinstance(value, dict):
        for name, child in value.items():
            yield f"{path}{name}"
            yield from members(child, f"{path}{name}.")
    if isinstance(value, list):
        for child in value:
            yield from members(child, path)


def described(schema: dict[str, Any], path: str = "", kind: str = "") -> Iterator[str]:
    """Yields every member that a schema describes for bodies of a kind, in the same form."""
    if "$ref" in schema:
        schema = {**COMPONENTS[schema["$ref"].rpartition("/")[2]], "description": schema.get("description", "")}
    if schema.get("type") == "array":
        yield from described(schema["items"], path, kind)
    for name, member in schema.get("properties", {}).items():
        only = re.search(r"Only in ([^:]*)\.$", member.get("description", ""))
        if only is None or not kind or f"`{kind}`" in only[1]:
            yield f"{path}{name}"
            yield from described(member, f"{path}{name}.", kind)


@pytest.mark.parametrize("form", ["json", "verbose_json", "diarized_json"])
def test_each_format_has_exactly_the_members_that_the_document_describes_for_it(service: Service, form: str) -> None:
    body = post(service, response_format=form, **{"timestamp_granularities[]": BOTH}).json()
    require_fits("OpenAITranscription", body)
    assert set(members(body)) == set(described(COMPONENTS["OpenAITranscription"], kind=form))


def test_each_event_has_exactly_the_members_that_the_document_describes_for_it(service: Service) -> None:
    sent: dict[str, set[str]] = defaultdict(set)
    for event in events_of(post(service, response_format="diarized_json", stream="true")):
        require_fits("OpenAIEvent", event)
        sent[event["type"]] |= set(members(event))
    assert sent == {kind: set(described(COMPONENTS["OpenAIEvent"], kind=kind)) for kind in KINDS}


def test_an_event_with_an_error_has_the_members_that_the_document_describes_for_it() -> None:
    event = failure_of(NoAudio()).body
    require_fits("OpenAIEvent", event)
    assert set(members(event)) == set(described(COMPONENTS["OpenAIEvent"], kind="error"))


def test_the_shortest_answer_has_exactly_the_member_that_the_document_describes(service: Service) -> None:
    schema = DOCUMENT["paths"][TRANSCRIBE]["post"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert set(members(post(service, TRANSCRIBE).json())) == set(described(schema)) == {"text"}


def test_the_formats_that_are_text_have_the_media_types_of_the_document(service: Service) -> None:
    content = DOCUMENT["paths"][TRANSCRIPTIONS]["post"]["responses"]["200"]["content"]
    types = {form: post(service, response_format=form).headers["Content-Type"] for form in ("text", "srt", "vtt")}
    streamed = post(service, stream="true").headers["Content-Type"]
    assert {each.partition(";")[0] for each in [*types.values(), streamed, "application/json"]} == set(content)


def test_a_member_whose_type_depends_on_the_format_has_no_type_because_generators_cannot_read_choices() -> None:
    assert "type" not in COMPONENTS["OpenAISegment"]["properties"]["id"]
    assert not re.search("oneOf|anyOf|allOf", json.dumps(dict(schemas.SCHEMAS)))


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        (TRANSCRIPTIONS, {"file"} | LISTS | SINGLE | OWN),
        (TRANSLATIONS, {"file"} | LISTS | SINGLE | OWN),
        (TRANSCRIBE, {"audio"} | (LISTS | SINGLE | OWN) - SHAPE),
    ],
)
def test_forms_have_exactly_the_fields_that_the_routes_read(path: str, fields: set[str]) -> None:
    form = DOCUMENT["paths"][path]["post"]["requestBody"]["content"]["multipart/form-data"]
    assert set(form["schema"]["properties"]) == fields
    lists = {name for name, field in form["schema"]["properties"].items() if field["type"] == "array"}
    assert form["encoding"] == {name: {"style": "form", "explode": True} for name in lists}
    assert lists == (LISTS | {"webhook_url", "callback_url", "redact", "redact_terms"}) & fields
    assert "The default is `3`." in form["schema"]["properties"]["priority"]["description"]
    assert not any("default" in field for field in form["schema"]["properties"].values())


NEVER = {
    "method_not_allowed": "the path takes POST",
    "not_acceptable": "only transcripts are asked for by media type",
    "already_final": "only a cancellation is refused so",
    "not_completed": "the routes wait for the end",
    "not_failed": "only a retry is refused so",
    "recording_gone": "only a retry is refused so",
    "idempotency_key_reused": "the routes ignore the header `Idempotency-Key`",
    "range_not_satisfiable": "the routes send no recordings",
    "fetch_failed": "the routes take no URL of a recording",
    "abandoned": "the client that asks is a client that waits",
    "nothing_to_analyse": "only a request for an analysis is refused so",
    "judgement_unavailable": "only an analysis ends so",
    "judgement_refused": "only an analysis ends so",
    "judgement_unfit": "only an analysis ends so",
    "try_again_later": "only a live call is refused so",
    "output_failed": "only a watched folder puts recordings aside",
    "recording_changed": "only a watched folder puts recordings aside",
}


def codes_of(path: str) -> dict[int, set[str]]:
    responses = DOCUMENT["paths"][path]["post"]["responses"].items()
    return {
        int(status): set(re.findall(r"`(\w+)`", each["description"])) for status, each in responses if status != "200"
    }


def every_error(kind: type[AppError] = AppError) -> Iterator[type[AppError]]:
    for child in kind.__subclasses__():
        yield from [child] if hasattr(child, "code") else every_error(child)


@pytest.mark.parametrize("error", list(every_error()), ids=lambda error: error.code)
def test_every_error_is_described_with_its_status_unless_these_routes_never_answer_it(error: type[AppError]) -> None:
    codes = codes_of(TRANSCRIPTIONS)
    if error.code in NEVER:
        assert all(error.code not in each for each in codes.values())
    else:
        assert failure_of(error()).code in codes[status_of(error)]


ELSEWHERE = {"queue_full", "rate_limited", "quota_exceeded"}  # codes of other routes that the guide compares with


def test_all_three_routes_answer_the_errors_that_the_guide_lists() -> None:
    table = API.partition("### Errors for OpenAI's clients")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (\d{3}) \| `\w+` \| (.*?) \| `", table, re.MULTILINE)
    listed = {int(status): set(re.findall(r"`([a-z_]+)`", codes)) - ELSEWHERE for status, codes in rows}
    assert listed.pop(405) == {"method_not_allowed"}
    assert codes_of(TRANSCRIPTIONS) == codes_of(TRANSLATIONS) == codes_of(TRANSCRIBE) == listed


@pytest.mark.parametrize(
    ("status", "code", "fields"),
    [
        (400, "unsupported_value", {"language": "xx"}),
        (400, "url_not_allowed", {"webhook_url": "http://10.0.0.1/"}),
        (404, "model_not_found", {"model": "nope"}),
        (415, "unsupported_media", {"recording": b"text, and no recording"}),
    ],
)
def test_refused_requests_are_answered_as_the_document_says(
    service: Service, status: int, code: str, fields: dict[str, Any]
) -> None:
    answer = post(service, **({"recording": tone()} | fields))
    require_described(answer, status, code)
    assert answer.headers["x-should-retry"] == "false"


def test_a_form_without_a_recording_is_refused_as_the_document_says(service: Service) -> None:
    answer = service.client.post(TRANSCRIPTIONS, files={"other": ("call.wav", tone())})
    require_described(answer, 400, "missing_required_parameter")


def require_described(answer: httpx.Response, status: int, code: str) -> None:
    response = DOCUMENT["paths"][TRANSCRIPTIONS]["post"]["responses"][str(status)]
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert code in response["content"]["application/json"]["examples"]
    require_fits("OpenAIError", answer.json())
    assert {"x-should-retry", "Retry-After"} & set(answer.headers) <= set(response["headers"])


def test_headers_that_say_whether_to_repeat_a_request_are_described_where_they_are_sent() -> None:
    responses = DOCUMENT["paths"][TRANSCRIPTIONS]["post"]["responses"].items()
    named = {status: set(response.get("headers", {})) for status, response in responses}
    assert {status for status, names in named.items() if "Retry-After" in names} == {"429", "503"}
    assert {status for status, names in named.items() if "x-should-retry" in names} == {
        "400", "401", "403", "404", "409", "413", "415", "429", "500",
    }  # fmt: skip
    assert {status for status, names in named.items() if "X-Callscribe-Id" in names} == {
        "200", "400", "409", "500", "503",
    }  # fmt: skip
