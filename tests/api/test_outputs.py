"""The field `output`, and what is written when the job is completed."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from testing.forms import refused
from testing.recordings import call
from testing.service import Service, eventually, serving


@pytest.fixture(scope="module")
def writing(workspace: Path) -> Iterator[Service]:
    """A service that writes each transcript into a folder, and takes requests for one bucket."""
    folder, results = workspace / "outputs", workspace / "results"
    results.mkdir()
    settings = {
        "OUTPUT_URL": f"{results}/{{date}}/{{file_stem}}",
        "OUTPUT_FORMATS": "whisper,srt",
        "OUTPUT_BUCKETS": "results/ours",
    }
    with serving(folder, **settings) as service:
        yield service


def fields(response: Any) -> list[str]:
    return [error["field"] for error in response.json()["errors"]]


def test_a_transcript_is_written_into_the_operators_folder(writing: Service, workspace: Path) -> None:
    job = writing.create(call(0, 6.2))
    assert job["outputs"] == []
    path = job["links"]["self"]
    assert writing.ended(job)["status"] == "completed"
    eventually(lambda: all(one["status"] == "written" for one in writing.read(path)["outputs"]))
    outputs = writing.read(path)["outputs"]
    folder = workspace / "results" / job["created_at"][:10]
    assert outputs == [
        {"url": f"file://{folder}/call.json", "format": "whisper", "status": "written"},
        {"url": f"file://{folder}/call.srt", "format": "srt", "status": "written"},
    ]
    assert set(json.loads((folder / "call.json").read_text())) == {"text", "segments", "language"}
    for form, ending in (("whisper", "json"), ("srt", "srt")):
        assert (folder / f"call.{ending}").read_text() == writing.client.get(f"{path}/transcript?format={form}").text
    deliveries = writing.read(f"{path}/deliveries")["items"]
    assert [(one["style"], one["format"], one["status"]) for one in deliveries] == [
        ("folder", "whisper", "delivered"),
        ("folder", "srt", "delivered"),
    ]
    assert writing.read(path)["notify_status"] == "not_notified"


@pytest.mark.parametrize("url", ["s3://others/a", "s3://results/a", "s3://results/ours2/a"])
def test_a_place_that_is_not_allowed_is_refused(writing: Service, url: str) -> None:
    response = writing.post(output=json.dumps({"url": url}))
    refused(response, 422, "url_not_allowed")
    assert fields(response) == ["output.url"]
    asked = {"url": "https://example.com/a.wav", "output": {"url": url}}
    refused(writing.client.post("/v1/transcriptions", json=asked), 422, "url_not_allowed")


@pytest.mark.parametrize(
    ("output", "field"),
    [
        ({"url": "/etc/passwd"}, "output.url"),
        ({"url": "file:///etc/passwd"}, "output.url"),
        ({"url": "s3://results/ours/{secret}"}, "output.url"),
        ({"url": "s3://results/ours/../a"}, "output.url"),
        ({"url": "s3://results/ours/a", "formats": ["pdf"]}, "output.formats.0"),
        ({"url": "s3://results/ours/a", "format": "srt"}, "output.format"),
        ({"formats": ["srt"]}, "output.url"),
        ({"url": "s3://results/ours/{external_id}"}, "external_id"),
    ],
)
def test_an_output_that_cannot_be_written_is_refused_and_the_error_names_the_field(
    writing: Service, output: dict[str, Any], field: str
) -> None:
    response = writing.post(output=json.dumps(output))
    refused(response, 422, "invalid_request")
    assert fields(response) == [field]


def test_an_output_in_an_allowed_place_is_accepted(writing: Service) -> None:
    output = {"url": "s3://results/ours/{file_stem}", "formats": ["json", "srt"]}
    assert writing.create(output=json.dumps(output))["status"] == "pending"


def test_a_repetition_with_another_output_is_another_request(writing: Service) -> None:
    key = {"Idempotency-Key": "outputs"}
    first = json.dumps({"url": "s3://results/ours/a"})
    assert writing.post(headers=key, output=first).status_code == 202
    assert writing.post(headers=key, output=first).status_code == 200
    second = json.dumps({"url": "s3://results/ours/b"})
    refused(writing.post(headers=key, output=second), 422, "idempotency_key_reused")
