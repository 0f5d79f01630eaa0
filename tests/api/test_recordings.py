"""Recordings are served as they were received, complete or in ranges."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.api.recordings import requested_span
from app.database.connections import Database
from app.errors import RangeNotSatisfiable
from app.storage.folder_store import LocalAudioStore
from app.storage.store import AudioStore
from testing.forms import refused
from testing.listening import listening
from testing.recordings import tone
from testing.service import Service, answered

RECORDING = tone(1.0)
MIB = 1024 * 1024


@pytest.mark.parametrize(
    ("header", "span"),
    [
        (None, None),
        ("bytes=0-", range(10)),
        ("bytes=0-0", range(1)),
        ("bytes=2-4", range(2, 5)),
        ("bytes=9-", range(9, 10)),
        ("bytes=4-999", range(4, 10)),
        ("bytes=-3", range(7, 10)),
        ("bytes=-99", range(10)),
        ("bytes=4-2", None),
        ("bytes=0-1,4-5", None),
        ("bytes=-", None),
        ("bytes=x-", None),
        ("lines=1-2", None),
        (f"bytes=0-{'9' * 5000}", None),
    ],
)
def test_a_range_header_is_read_according_to_the_rfc(header: str | None, span: range | None) -> None:
    assert requested_span(header, 10) == span


@pytest.mark.parametrize("header", ["bytes=10-", "bytes=10-20", "bytes=-0"])
def test_a_range_without_any_byte_is_refused(header: str) -> None:
    with pytest.raises(RangeNotSatisfiable):
        requested_span(header, 10)


def test_the_recording_of_a_waiting_job_can_be_read(guarded: Service) -> None:
    job = guarded.create(RECORDING)
    whole = guarded.client.get(job["links"]["audio"])
    assert (whole.status_code, whole.content) == (200, RECORDING)
    assert whole.headers["Content-Type"] == "audio/wav"
    assert whole.headers["Content-Length"] == str(len(RECORDING))
    assert whole.headers["Content-Disposition"] == "attachment; filename*=UTF-8''call.wav"
    assert whole.headers["X-Content-Type-Options"] == "nosniff"
    assert whole.headers["ETag"] == f'"{job["audio"]["sha256"]}"'
    part = guarded.client.get(job["links"]["audio"], headers={"Range": "bytes=100-199"})
    assert (part.status_code, part.content) == (206, RECORDING[100:200])
    assert part.headers["Content-Range"] == f"bytes 100-199/{len(RECORDING)}"
    changed = guarded.client.get(job["links"]["audio"], headers={"Range": "bytes=100-199", "If-Range": '"another"'})
    assert (changed.status_code, changed.content) == (200, RECORDING)


def test_a_range_after_the_end_is_refused_with_the_size(guarded: Service) -> None:
    job = guarded.create(RECORDING)
    answer = guarded.client.get(job["links"]["audio"], headers={"Range": "bytes=99999999-"})
    refused(answer, 416, "range_not_satisfiable")
    assert answer.headers["Content-Range"] == f"bytes */{len(RECORDING)}"


@pytest.mark.parametrize("name", ["evil.html", "evil.svg", "call", "call.wav.html"])
def test_a_recording_is_never_served_as_a_web_page(guarded: Service, name: str) -> None:
    job = guarded.client.post("/v1/transcriptions", files={"file": (name, RECORDING, "text/html")}).json()
    assert guarded.client.get(job["links"]["audio"]).headers["Content-Type"] == "application/octet-stream"


def test_a_file_name_cannot_add_to_the_header_that_contains_it(guarded: Service) -> None:
    job = guarded.client.post("/v1/transcriptions", files={"file": ('ä"; x=".wav', RECORDING)}).json()
    disposition = guarded.client.get(job["links"]["audio"]).headers["Content-Disposition"]
    assert disposition.startswith("attachment; filename*=UTF-8''%C3%A4")
    assert '"' not in disposition


def test_an_upload_that_was_cancelled_can_be_played_and_retried_until_it_is_deleted(guarded: Service) -> None:
    job = guarded.create(RECORDING)
    cancelled = answered(guarded.client.post(f"{job['links']['self']}/cancel"))
    assert cancelled["links"]["audio"] == guarded.read(job["links"]["self"])["links"]["audio"] == job["links"]["audio"]
    assert guarded.client.get(job["links"]["audio"]).content == RECORDING
    retried = guarded.client.post(f"{job['links']['self']}/retry")
    assert retried.status_code == 202
    assert guarded.client.get(retried.json()["links"]["audio"]).content == RECORDING
    guarded.client.delete(job["links"]["self"])
    assert [file.name for file in guarded.stored_files()] == [retried.json()["id"]]


async def test_a_recording_that_is_not_kept_is_not_found(database: Database, tmp_path: Path) -> None:
    async with listening(database, tmp_path) as served:
        job = (await served.client.post("/v1/transcriptions", files={"file": ("call.wav", RECORDING)})).json()
        cancelled = (await served.client.post(f"{job['links']['self']}/cancel")).json()
        shown = (await served.client.get(job["links"]["self"])).json()
        assert cancelled["links"]["audio"] is shown["links"]["audio"] is None
        assert served.stored_files() == []
        refused(await served.client.get(job["links"]["audio"]), 404, "not_found")


def test_a_recording_that_is_not_fetched_yet_has_no_link(guarded: Service) -> None:
    body = {"url": "https://recordings.example.com/call.wav"}
    job = guarded.client.post("/v1/transcriptions", json=body).json()
    assert job["links"]["audio"] is None
    refused(guarded.client.get(f"{job['links']['self']}/audio"), 404, "not_found")


@pytest.fixture
def folder_store(tmp_path: Path) -> AudioStore:
    return LocalAudioStore(tmp_path / "audio")


@pytest.mark.parametrize("kind", ["folder_store", "bucket_store"])
async def test_every_store_reads_ranges(kind: str, request: pytest.FixtureRequest) -> None:
    store: AudioStore = request.getfixturevalue(kind)
    content = os.urandom(3 * MIB + 1)

    async def stream() -> AsyncIterator[bytes]:
        yield content

    await store.save("call", stream(), len(content))
    for span in (range(len(content)), range(1), range(MIB - 1, 2 * MIB + 5), range(3 * MIB, 3 * MIB + 1)):
        read = b"".join([block async for block in await store.read("call", span)])
        assert read == content[span.start : span.stop]
    with pytest.raises(FileNotFoundError):
        await store.read("gone", range(1))
