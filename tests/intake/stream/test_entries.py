"""What entries ask for, and what is written when they are refused."""

import json

import pytest

from app.errors import AppError, InvalidRequest, TooLarge
from app.intake.stream.entries import MAX_BYTES, Entry, rejection, request_of
from app.intake.stream.names import rejected_stream

URL = "https://calls.example/one.wav"


def entry(*pairs: tuple[str, str | bytes]) -> Entry:
    return Entry("1-0", [(name.encode(), text.encode() if isinstance(text, str) else text) for name, text in pairs])


def problem_of(refused: Entry) -> AppError:
    with pytest.raises((InvalidRequest, TooLarge)) as error:
        request_of(refused)
    return error.value


def test_flat_fields_and_the_json_body_mean_the_same() -> None:
    body = {"url": URL, "file_name": "呼叫 1.wav", "priority": 3, "channel_labels": ["agent", "customer"]}
    body |= {"word_timestamps": True, "metadata": {"queue": "orders"}, "output": {"url": "s3://results/{id}"}}
    flat = [(name, value if isinstance(value, str) else json.dumps(value)) for name, value in body.items()]
    asked = request_of(entry(*flat))
    assert asked == request_of(entry(("request", json.dumps(body))))
    assert (asked.recording().url, asked.recording().filename) == (URL, "呼叫 1.wav")
    assert asked.ask().metadata == {"queue": "orders"}


def test_a_field_may_be_repeated_or_empty() -> None:
    asked = request_of(entry(("url", URL), ("hotwords", "a"), ("hotwords", "b"), ("language", "")))
    assert (asked.hotwords, asked.language) == (["a", "b"], "auto")


@pytest.mark.parametrize(
    ("pairs", "field"),
    [
        ([("url", URL), ("langauge", "en")], "langauge"),
        ([("url", URL), ("language", "nowhere")], "language"),
        ([("language", "en")], "url"),
        ([("url", URL), ("external_id", b"\xff")], "external_id"),
        ([("request", json.dumps({"url": URL})), ("language", "en")], "request"),
        ([("request", json.dumps({"url": URL})), ("request", json.dumps({"url": URL}))], "request"),
        ([("request", json.dumps({"url": URL, "priority": 10}))], "priority"),
    ],
)
def test_a_wrong_field_is_named(pairs: list[tuple[str, str | bytes]], field: str) -> None:
    assert [error.field for error in problem_of(entry(*pairs)).errors] == [field]


@pytest.mark.parametrize("body", ["", "[]", "{", b"\xff", "[" * 50_000])
def test_a_request_has_to_be_a_json_object(body: str | bytes) -> None:
    assert problem_of(entry(("request", body))).code == "invalid_request"


def test_a_large_entry_is_refused_without_its_fields() -> None:
    large = entry(("request", "x" * MAX_BYTES))
    error = problem_of(large)
    assert error.code == "too_large"
    assert "fields" not in dict(rejection("callscribe:requests", large, error))


def test_a_refusal_has_the_problem_and_what_the_entry_held() -> None:
    refused = entry(("url", URL), ("hotwords", "一"), ("hotwords", "二"), ("priority", "11"))
    written = dict(rejection("callscribe:requests", refused, problem_of(refused)))
    assert (written["entry"], written["stream"], written["code"]) == ("1-0", "callscribe:requests", "invalid_request")
    problem = json.loads(written["problem"])
    assert (problem["status"], problem["type"]) == (422, "urn:callscribe:error:invalid_request")
    assert [error["field"] for error in problem["errors"]] == ["priority"]
    assert "priority" in written["detail"]
    assert json.loads(written["fields"]) == {"url": URL, "hotwords": ["一", "二"], "priority": "11"}


def test_an_entry_does_not_show_its_fields_in_logs() -> None:
    assert URL not in repr(entry(("url", URL)))


@pytest.mark.parametrize(
    ("stream", "rejected"),
    [("callscribe:requests", "callscribe:rejected"), ("calls", "calls:rejected"), ("a:b:c", "a:b:rejected")],
)
def test_the_stream_of_refused_entries_is_beside_the_other_one(stream: str, rejected: str) -> None:
    assert rejected_stream(stream) == rejected
