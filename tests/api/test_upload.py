"""POST /v1/transcriptions accepts a recording and its options, and a repeated request only once."""

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from testing.forms import END, field, file, post_body, refused
from testing.recordings import tone
from testing.service import Service
from tests.conftest import BOB


def test_an_upload_becomes_a_pending_transcription(guarded: Service) -> None:
    recording = tone()
    response = guarded.post(recording)
    job = response.json()
    path = f"/v1/transcriptions/{job['id']}"
    assert response.status_code == 202
    assert response.headers["Location"] == path
    assert job.pop("created_at").endswith("Z")
    assert job == {
        "id": job["id"],
        "status": "pending",
        "notify_status": "not_notified",
        "audio": {
            "filename": "call.wav",
            "source": "upload",
            "bytes": len(recording),
            "sha256": hashlib.sha256(recording).hexdigest(),
            "duration": 0.2,
            "codec": "pcm_s16le",
            "sample_rate": 8000,
            "channels": 1,
        },
        "options": {
            "language": "auto",
            "languages": [],
            "task": "transcribe",
            "model": "base",
            "channels": "mix",
            "channel_labels": [],
            "diarize": False,
            "speakers": None,
            "word_timestamps": False,
            "prompt": None,
            "hotwords": [],
            "encoding": None,
            "sample_rate": None,
            "priority": 5,
            "redact": [],
            "redact_keep": False,
        },
        "progress": 0.0,
        "attempts": 0,
        "language": None,
        "outputs": [],
        "error": None,
        "retry": None,
        "warnings": [],
        "redactions": None,
        "external_id": None,
        "tenant": "default",
        "speakers": None,
        "batch_id": None,
        "retry_of": None,
        "retried_as": None,
        "metadata": {},
        "started_at": None,
        "completed_at": None,
        "notified_at": None,
        "timings": {"queued": None, "decoding": None, "transcribing": None},
        "links": {"self": path, "transcript": f"{path}/transcript", "audio": f"{path}/audio", "analysis": None},
    }
    assert guarded.read(path)["status"] == "pending"
    assert [stored.read_bytes() for stored in guarded.stored_files()] == [recording]


def test_every_option_is_kept(guarded: Service) -> None:
    job = guarded.create(
        language="de",
        task="translate",
        model="base",
        channels="split",
        channel_labels=["agent", "Kundin Ö"],
        diarize="true",
        speakers="3",
        word_timestamps="true",
        prompt="Müller GmbH",
        hotwords=["Kündigung", "Tarif"],
        encoding="alaw",
        sample_rate="16000",
        priority="0",
        redact=["PHONE", "PIN"],
        redact_keep="true",
        external_id="crm/48151 ✓",
        metadata=json.dumps({"queue": "billing", "tags": [1, None, {"a": True}]}),
    )
    assert job["options"] == {
        "language": "de",
        "languages": [],
        "task": "translate",
        "model": "base",
        "channels": "split",
        "channel_labels": ["agent", "Kundin Ö"],
        "diarize": True,
        "speakers": 3,
        "word_timestamps": True,
        "prompt": "Müller GmbH",
        "hotwords": ["Kündigung", "Tarif"],
        "encoding": "alaw",
        "sample_rate": 16000,
        "priority": 0,
        "redact": ["PHONE", "PIN"],
        "redact_keep": True,
    }
    assert job["external_id"] == "crm/48151 ✓"
    assert job["metadata"] == {"queue": "billing", "tags": [1, None, {"a": True}]}
    assert guarded.read(job["links"]["self"]) == job


def test_fields_may_come_before_and_after_the_file(guarded: Service) -> None:
    body = (
        field("channel_labels", "agent") + field("language", "en") + file() + field("channel_labels", "customer") + END
    )
    response = post_body(guarded, body)
    assert response.status_code == 202
    assert response.json()["options"]["channel_labels"] == ["agent", "customer"]
    assert response.json()["options"]["language"] == "en"


def test_a_form_may_arrive_byte_by_byte(guarded: Service) -> None:
    body = field("external_id", "slow") + file(tone(0.02)) + END
    response = post_body(guarded, (body[n : n + 1] for n in range(len(body))))
    assert response.status_code == 202
    assert response.json()["external_id"] == "slow"
    assert [stored.read_bytes() for stored in guarded.stored_files()] == [tone(0.02)]


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\calls\\a.wav", "a.wav"),
        ("a\tb\u202e\x7f.wav", "ab.wav"),
        ("9\u202fPM.wav", "9\u202fPM.wav"),
        ("x" * 300 + ".wav", "x" * 251 + ".wav"),
        ("x" * 200 + "." + "y" * 200, "x" * 200 + "." + "y" * 54),
        ("é.wav", "é.wav"),
        ("", None),
    ],
)
def test_the_file_name_that_a_client_sends_is_only_shown(guarded: Service, sent: str, shown: str | None) -> None:
    job = post_body(guarded, file(name=sent) + END).json()
    assert job["audio"]["filename"] == shown
    assert [stored.name for stored in guarded.stored_files()] == [job["id"]]


def test_a_repeated_request_finds_its_job(guarded: Service) -> None:
    key = {"Idempotency-Key": "call-1"}
    first = guarded.post(headers=key, language="en")
    again = guarded.post(headers=key, language="en")
    assert (first.status_code, again.status_code) == (202, 200)
    assert again.json() == first.json()
    assert again.headers["Location"] == first.headers["Location"]
    assert len(guarded.stored_files()) == 1


def test_a_repeated_request_finds_its_job_in_a_full_queue(guarded: Service) -> None:
    key = {"Idempotency-Key": "call-2"}
    first = guarded.post(headers=key)
    for _ in range(3):
        guarded.create()
    refused(guarded.post(), 429, "queue_full")
    again = guarded.post(headers=key)
    assert again.status_code == 200
    assert again.json()["id"] == first.json()["id"]


@pytest.mark.parametrize("change", [{"recording": tone(0.3)}, {"language": "de"}, {"metadata": '{"a": 1}'}])
def test_another_request_under_the_same_key_is_refused(guarded: Service, change: dict[str, Any]) -> None:
    key = {"Idempotency-Key": "call-3"}
    guarded.post(headers=key)
    refused(guarded.post(**{"headers": key, **change}), 422, "idempotency_key_reused")
    assert len(guarded.stored_files()) == 1


def test_repeated_requests_at_the_same_time_make_one_job(guarded: Service) -> None:
    with ThreadPoolExecutor(4) as clients:
        requests = [clients.submit(guarded.post, headers={"Idempotency-Key": "call-5"}) for _ in range(4)]
        responses = [request.result() for request in requests]
    assert sorted(response.status_code for response in responses) == [200, 200, 200, 202]
    assert len({response.json()["id"] for response in responses}) == 1
    assert len(guarded.stored_files()) == 1


def test_callers_do_not_share_idempotency_keys(guarded: Service) -> None:
    key = {"Idempotency-Key": "call-4"}
    alices = guarded.post(headers=key)
    bobs = guarded.post(headers={**key, "Authorization": f"Bearer {BOB}"}, language="de")
    assert (alices.status_code, bobs.status_code) == (202, 202)
    assert alices.json()["id"] != bobs.json()["id"]


@pytest.mark.parametrize(
    ("fields", "field", "detail"),
    [
        ({"encoding": "ulaw"}, "encoding", "'mulaw', 'alaw', 'pcm_s16le'"),
        ({"sample_rate": "8000"}, "sample_rate", "needs the field encoding"),
        ({"encoding": "g722", "sample_rate": "8000"}, "sample_rate", "must be 16000 for g722"),
        ({"encoding": "mulaw", "sample_rate": "1"}, "sample_rate", "4000"),
    ],
)
def test_a_wrong_encoding_or_rate_is_refused_with_the_right_ones(
    guarded: Service, fields: dict[str, Any], field: str, detail: str
) -> None:
    [error] = refused(guarded.post(**fields), 422, "invalid_request")["errors"]
    assert error["field"] == field
    assert detail in error["detail"]


def test_raw_sound_is_accepted_by_its_encoding_or_its_name(guarded: Service) -> None:
    sound = bytes(8_000)
    named = post_body(guarded, file(sound, name="call.ulaw") + END)
    assert named.json()["audio"]["codec"] == "pcm_mulaw"
    audio = guarded.create(sound, encoding="alaw", sample_rate="16000")["audio"]
    assert (audio["codec"], audio["sample_rate"], audio["duration"]) == ("pcm_alaw", 16_000, 0.5)
    assert "encoding" in refused(guarded.post(sound), 415, "unsupported_media")["detail"]
