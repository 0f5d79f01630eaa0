"""POST /v1/transcriptions refuses invalid requests, and a refusal leaves nothing behind."""

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from app.speech.language_tags import EXPECTED
from testing.forms import BOUNDARY, END, FORM_TYPE, field, file, post_body, refused
from testing.media import write_movie
from testing.recordings import tone
from testing.service import Service, eventually
from tests.conftest import ALICE, BOB


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("language", "xx"),
        ("language", "Klingon"),
        ("task", "sing"),
        ("model", "huge"),
        ("channels", "three"),
        ("channel_labels", "x" * 101),
        ("word_timestamps", "maybe"),
        ("diarize", "maybe"),
        ("speakers", "1"),
        ("speakers", "9"),
        ("speakers", "two"),
        ("prompt", "nul \0"),
        ("priority", "10"),
        ("priority", "-1"),
        ("priority", "high"),
        ("external_id", "x" * 256),
        ("metadata", "[]"),
        ("metadata", "{"),
        ("metadata", '{"nul": "\\u0000"}'),
        ("metadata", json.dumps({"long": "x" * 4096})),
        ("metadata", '{"half a character": "\\ud800"}'),
        ("metadata", '{"more than any float": 1e999}'),
        ("metadata", '{"deep": ' + "[" * 1500 + "]" * 1500 + "}"),
        ("colour", "blue"),
    ],
)
def test_the_error_names_an_invalid_option(guarded: Service, name: str, value: str) -> None:
    fields: dict[str, Any] = {name: value}
    problem = refused(guarded.post(**fields), 422, "invalid_request")
    assert [error["field"].split(".")[0] for error in problem["errors"]] == [name]
    assert guarded.stored_files() == []


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("language", "Klingon", EXPECTED),
        ("url", "notaurl", "must be a URL such as https://host/call.wav or s3://bucket/key"),
        ("external_id", "nul \0", "may not hold NUL characters"),
        ("task", "sing", "must be 'transcribe' or 'translate'"),
        ("model", "x" * 256, "must have at most 255 characters"),
        ("webhook_url", "nonsense", "must be https://… with a host"),
        ("webhook_url", 7, "must be text"),
        (
            "callback_url",
            "https://a.example/{nope}",
            "knows the placeholders {file_name}, {external_id}, {id}, {status}",
        ),
        (
            "channel_labels",
            ["agent", "agent"],
            "must differ from one another, because a dialogue names its speakers by them",
        ),
    ],
)
def test_the_error_for_an_invalid_option_says_what_is_expected(
    guarded: Service, name: str, value: Any, expected: str
) -> None:
    asked = {"url": "https://calls.example/a.wav", name: value}
    problem = refused(guarded.client.post("/v1/transcriptions", json=asked), 422, "invalid_request")
    assert problem["errors"] == [{"field": name, "detail": expected}]


def test_the_error_names_the_wrong_one_of_several_receivers(guarded: Service) -> None:
    asked = {"url": "https://calls.example/a.wav", "webhook_url": ["https://crm.example/", "ftp://crm.example/"]}
    problem = refused(guarded.client.post("/v1/transcriptions", json=asked), 422, "invalid_request")
    assert problem["errors"] == [{"field": "webhook_url.1", "detail": "must be https://… with a host"}]


def test_the_error_for_a_url_in_a_form_explains_the_json_body(guarded: Service) -> None:
    body = field("url", "https://calls.example/a.wav") + END
    problem = refused(post_body(guarded, body), 422, "invalid_request")
    assert problem["errors"] == [{"field": "file", "detail": "is missing"}]
    assert "`url`" in problem["detail"]
    assert "JSON body" in problem["detail"]


ABILITIES = "GET /v1/models lists the abilities of each model"


@pytest.mark.parametrize("model", ["large-v3-turbo", "tiny.en"])
def test_translation_by_a_model_that_was_not_trained_for_it_is_refused(guarded: Service, model: str) -> None:
    problem = refused(guarded.post(task="translate", model=model), 422, "invalid_request")
    assert problem["errors"] == [{"field": "task", "detail": f"the model {model} cannot translate; {ABILITIES}"}]
    assert guarded.stored_files() == []


def test_a_number_of_speakers_needs_diarize(guarded: Service) -> None:
    problem = refused(guarded.post(speakers="3"), 422, "invalid_request")
    assert problem["errors"] == [
        {"field": "speakers", "detail": "is how many voices there are on a track, so it needs diarize=true"}
    ]


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (field("language", "en") + field("language", "de") + file() + END, "language"),
        (field("language", "en") + END, "file"),
        (file() + file() + END, "file"),
        (field("external_id", b"\xff\xfe") + file() + END, "external_id"),
    ],
    ids=["repeated field", "no file", "two files", "not UTF-8"],
)
def test_a_form_with_the_wrong_parts_is_refused(guarded: Service, body: bytes, name: str) -> None:
    problem = refused(post_body(guarded, body), 422, "invalid_request")
    assert [error["field"] for error in problem["errors"]] == [name]
    assert guarded.stored_files() == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"garbage",
        file(),
        file()[:-20],
        field("language", "en") + b"--" + BOUNDARY.encode(),
        f"--{BOUNDARY}\r\nContent-Disposition: form-data\r\n\r\nnameless\r\n".encode() + END,
        f"--{BOUNDARY}\r\nContent Disposition: form-data\r\n\r\n".encode() + file() + END,
        b"".join(field("hotwords", "x") for _ in range(300)) + file() + END,
        field("prompt", "x" * 70_000) + file() + END,
    ],
    ids=["empty", "garbage", "no end", "cut off", "cut off in a boundary", "nameless", "bad header", "many", "long"],
)
def test_a_malformed_form_is_refused(guarded: Service, body: bytes) -> None:
    refused(post_body(guarded, body), 422, "invalid_request")
    assert guarded.stored_files() == []


@pytest.mark.parametrize("content_type", ["multipart/form-data", "multipart/form-data; boundary="])
def test_a_form_needs_a_boundary(guarded: Service, content_type: str) -> None:
    refused(post_body(guarded, file() + END, content_type), 422, "invalid_request")


@pytest.mark.parametrize("content_type", ["audio/wav", "application/x-www-form-urlencoded", "text/plain", ""])
def test_other_content_types_are_refused(guarded: Service, content_type: str) -> None:
    refused(post_body(guarded, tone(), content_type), 415, "unsupported_media")


@pytest.mark.parametrize(
    ("content_type", "words"),
    [
        ("application/x-www-form-urlencoded", "`curl -d`"),
        ("", "no `Content-Type`"),
        ("audio/wav", "`-F file=@call.wav`"),
        ("application/octet-stream", "`-F file=@call.wav`"),
        ("text/plain;charset=UTF-8", "`Content-Type: application/json`"),
    ],
)
def test_the_error_for_another_content_type_says_what_to_send(guarded: Service, content_type: str, words: str) -> None:
    assert words in refused(post_body(guarded, b'{"url": "x"}', content_type), 415, "unsupported_media")["detail"]


def test_a_compressed_body_is_refused(guarded: Service) -> None:
    headers = {"Content-Type": FORM_TYPE, "Content-Encoding": "gzip"}
    answer = guarded.client.post("/v1/transcriptions", content=b"x", headers=headers)
    problem = refused(answer, 415, "unsupported_media")
    assert "without `Content-Encoding`" in problem["detail"]
    assert problem["title"] == "The body is compressed"


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "text/json", "application/vnd.crm+json"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "byte order mark"])
def test_json_is_accepted_under_its_other_names(guarded: Service, content_type: str, mark: bytes) -> None:
    body = mark + b'{"url": "https://93.184.215.14/call.wav"}'
    assert post_body(guarded, body, content_type).status_code == 202


def test_json_that_is_not_utf8_is_refused_and_the_error_says_so(guarded: Service) -> None:
    body = '{"url": "https://93.184.215.14/call.wav", "prompt": "Müller"}'.encode("latin-1")
    assert "UTF-8" in refused(post_body(guarded, body, "application/json"), 422, "invalid_request")["detail"]


def test_two_idempotency_keys_are_refused(guarded: Service) -> None:
    headers = [("Content-Type", FORM_TYPE), ("Idempotency-Key", "a"), ("Idempotency-Key", "b")]
    answer = guarded.client.post("/v1/transcriptions", content=file() + END, headers=headers)
    problem = refused(answer, 422, "invalid_request")
    assert problem["errors"] == [{"field": "Idempotency-Key", "detail": "must not be repeated"}]


@pytest.mark.parametrize(
    "content", [b"", b"no recording " * 1000, tone()[:20]], ids=["empty", "text", "header cut off"]
)
def test_a_file_that_is_not_a_recording_is_refused(guarded: Service, content: bytes) -> None:
    refused(guarded.post(content), 415, "unsupported_media")
    assert guarded.stored_files() == []


def test_a_film_without_sound_is_refused(guarded: Service, tmp_path: Path) -> None:
    film = write_movie(tmp_path / "silent.mp4", None)
    refused(guarded.post(film.read_bytes()), 422, "no_audio")
    assert guarded.stored_files() == []


def test_a_recording_that_is_too_long_is_refused(guarded: Service) -> None:
    refused(guarded.post(tone(6)), 422, "too_long")
    assert guarded.stored_files() == []


def test_a_recording_with_too_many_bytes_is_refused_by_its_announced_length(guarded: Service) -> None:
    refused(guarded.post(b"x" * 1_000_000), 413, "too_large")
    assert guarded.stored_files() == []


def test_a_recording_with_too_many_bytes_is_refused_while_it_arrives(guarded: Service) -> None:
    body = file(b"x" * 100_001) + END
    refused(post_body(guarded, (body[n : n + 1000] for n in range(0, len(body), 1000))), 413, "too_large")
    assert guarded.stored_files() == []


def test_a_recording_of_exactly_the_limit_is_read(guarded: Service) -> None:
    refused(guarded.post(b"x" * 100_000), 415, "unsupported_media")


def test_a_client_that_hangs_up_leaves_nothing_in_the_store(guarded: Service) -> None:
    head = (
        f"POST /v1/transcriptions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {ALICE}\r\n"
        f"Content-Type: {FORM_TYPE}\r\nContent-Length: 90000\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", guarded.port)) as connection:
        connection.sendall(head.encode() + file())
        eventually(lambda: len(guarded.stored_files()) == 1)
    eventually(lambda: guarded.stored_files() == [])
    assert guarded.read("/v1/transcriptions")["items"] == []


def test_a_full_queue_accepts_no_more_and_one_key_does_not_fill_it(guarded: Service) -> None:
    jobs = [guarded.create() for _ in range(4)]
    response = guarded.post()
    refused(response, 429, "queue_full")
    assert "other API keys" in response.json()["detail"]
    assert int(response.headers["Retry-After"]) > 0
    other = {"Authorization": f"Bearer {BOB}"}
    assert guarded.post(headers=other).status_code == 202
    refused(guarded.post(headers=other), 429, "queue_full")
    assert len(guarded.stored_files()) == 5
    for job in jobs[:2]:
        guarded.client.delete(job["links"]["self"])
    assert guarded.post().status_code == 202


@pytest.mark.parametrize("key", ["", "x" * 256])
def test_an_idempotency_key_has_1_to_255_characters(guarded: Service, key: str) -> None:
    refused(guarded.post(headers={"Idempotency-Key": key}), 422, "invalid_request")


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.com/call.wav",
        "http://example.com/call.wav",
        "https://user:password@example.com/call.wav",
        "https://example.com:22/call.wav",
        "https://127.1/call.wav",
        "https://[::ffff:10.0.0.1]/call.wav",
        "https://169.254.169.254/latest/meta-data",
        "https://example.com/ call.wav",
    ],
)
def test_a_url_that_may_not_be_used_is_refused_immediately(guarded: Service, url: str) -> None:
    response = guarded.client.post("/v1/transcriptions", json={"url": url})
    problem = refused(response, 422, "url_not_allowed")
    assert [error["field"] for error in problem["errors"]] == ["url"]
    assert "password" not in response.text.replace("it must not contain a user or a password", "")
    assert guarded.read("/v1/transcriptions")["items"] == []


@pytest.mark.parametrize(
    ("body", "names"),
    [
        ({}, ["url"]),
        ({"url": "call.wav"}, ["url"]),
        ({"url": 5}, ["url"]),
        ({"url": "https://example.com/" + "a" * 8192}, ["url"]),
        ({"url": "https://example.com/a", "colour": "blue"}, ["colour"]),
        ({"url": "https://example.com/a", "priority": "5"}, ["priority"]),
        ({"url": "https://example.com/a", "word_timestamps": 1}, ["word_timestamps"]),
        ({"url": "https://example.com/a", "model": "huge"}, ["model"]),
        ({"url": "https://example.com/a", "hotwords": "one"}, ["hotwords"]),
    ],
)
def test_a_json_body_is_checked_before_a_job_is_made(guarded: Service, body: dict[str, Any], names: list[str]) -> None:
    problem = refused(guarded.client.post("/v1/transcriptions", json=body), 422, "invalid_request")
    assert [error["field"] for error in problem["errors"]] == names


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"url"', b"\xff", b'{"url": NaN}'])
def test_a_body_that_is_not_a_json_object_is_refused(guarded: Service, body: bytes) -> None:
    refused(post_body(guarded, body, "application/json"), 422, "invalid_request")


def test_a_huge_json_body_is_refused(guarded: Service) -> None:
    for body in (b" " * 100_000, b" " * 1_000_000):
        problem = refused(post_body(guarded, body, "application/json; charset=utf-8"), 413, "too_large")
        assert problem["detail"] == "The JSON body is larger than 65536 bytes."
