"""GET …/transcript: one recording of two speakers, in every format."""

import io
import json
import re
from typing import Any

import pytest
import srt  # type: ignore[import-untyped]
import webvtt

from testing.hearing import FEW, missed
from testing.recordings import call, said
from testing.service import Service

SECONDS = 12.5


@pytest.fixture(scope="module")
def job(service: Service) -> dict[str, Any]:
    """The first two turns of the sample call, completed."""
    posted = service.create(
        call(0, SECONDS),
        channels="split",
        channel_labels=["agent", "customer"],
        word_timestamps="true",
        prompt="Greenhorn Garden Centre",
    )
    return service.ended(posted)


def read(service: Service, job: dict[str, Any], chosen: str) -> str:
    response = service.client.get(job["links"]["transcript"], params={"format": chosen})
    assert response.status_code == 200
    return response.text


def test_a_completed_job_shows_its_times_and_attempts(job: dict[str, Any]) -> None:
    assert job["status"] == "completed"
    assert (job["progress"], job["attempts"], job["language"], job["error"]) == (1.0, 1, "en", None)
    assert job["audio"]["duration"] == pytest.approx(SECONDS, abs=0.01)
    assert job["created_at"] <= job["started_at"] <= job["completed_at"]
    assert all(seconds == round(seconds, 3) >= 0 for seconds in job["timings"].values())


def test_json_has_words_segments_and_turns(service: Service, job: dict[str, Any]) -> None:
    transcript = json.loads(read(service, job, "json"))
    assert (transcript["id"], transcript["language"]) == (job["id"], "en")
    assert [channel["label"] for channel in transcript["channels"]] == ["agent", "customer"]
    assert [turn["speaker"] for turn in transcript["turns"]] == ["agent", "customer"]
    for turn in transcript["turns"]:
        assert missed(said(0, SECONDS, turn["speaker"]), turn["text"]) <= FEW
    starts = [segment["start"] for segment in transcript["segments"]]
    assert starts == sorted(starts)
    words = [word for segment in transcript["segments"] for word in segment["words"]]
    assert all(0 <= word["start"] <= word["end"] <= SECONDS for word in words)
    assert all(0 <= word["probability"] <= 1 for word in words)


def test_json_has_the_facts_of_the_call(service: Service, job: dict[str, Any]) -> None:
    transcript = json.loads(read(service, job, "json"))
    talk = transcript["talk"]
    assert talk["speech_seconds"] + talk["silence_seconds"] == pytest.approx(SECONDS, abs=0.01)
    assert sum(channel["share"] for channel in talk["channels"]) == pytest.approx(1, abs=0.01)
    assert (talk["overlaps"], talk["interruptions"], talk["holds"]) == (0, 0, [])
    assert talk["overlap_instances"] == []
    agent, customer = talk["channels"]
    assert (agent["longest_response"], agent["median_response_seconds"]) == (None, None)
    answer = customer["longest_response"]
    assert customer["median_response_seconds"] == pytest.approx(answer["end"] - answer["start"], abs=0.002)
    assert answer["end"] == pytest.approx(6.5, abs=0.5)
    for channel in (agent, customer):
        assert len(channel["loudness_dbfs"]) == 13
        assert 100 < channel["words_per_minute"] < 300
    her, his = (turn["pitch"]["hertz"] for turn in transcript["turns"])
    assert 150 < her < 190
    assert 80 < his < 130
    assert all(-40 < turn["loudness_dbfs"] < -10 for turn in transcript["turns"])
    assert transcript["warnings"] == job["warnings"]
    assert {warning["code"] for warning in job["warnings"]} <= {"window_redecoded"}  # the model may need a second try


def test_text_is_a_dialogue(service: Service, job: dict[str, Any]) -> None:
    agent, customer = read(service, job, "text").splitlines()
    assert re.match(r"\[00:0[01]\] agent: ", agent)
    assert missed(said(0, SECONDS, "agent"), agent) <= FEW
    assert re.match(r"\[00:0[67]\] customer: ", customer)
    assert missed(said(0, SECONDS, "customer"), customer) <= FEW


def test_srt_can_be_read_back(service: Service, job: dict[str, Any]) -> None:
    cues = list(srt.parse(read(service, job, "srt")))
    assert [cue.index for cue in cues] == list(range(1, len(cues) + 1))
    assert cues[0].content.startswith("agent: ")
    assert missed(said(0, SECONDS), " ".join(cue.content for cue in cues)) <= FEW


def test_vtt_can_be_read_back(service: Service, job: dict[str, Any]) -> None:
    cues = webvtt.from_buffer(io.StringIO(read(service, job, "vtt"))).captions
    assert cues[0].voice == "agent"
    assert missed(said(0, SECONDS), " ".join(cue.text for cue in cues)) <= FEW


def test_tsv_has_a_row_per_segment(service: Service, job: dict[str, Any]) -> None:
    header, *rows = read(service, job, "tsv").splitlines()
    assert header == "start\tend\ttext"
    assert len(rows) == len(json.loads(read(service, job, "json"))["segments"])


def test_whisper_has_the_fields_of_its_command_line(service: Service, job: dict[str, Any]) -> None:
    result = json.loads(read(service, job, "whisper"))
    assert set(result) == {"text", "segments", "language"}
    assert {"id", "seek", "start", "end", "text", "tokens", "words"} <= set(result["segments"][0])


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        (None, "application/json"),
        ("*/*", "application/json"),
        ("text/plain", "text/plain; charset=utf-8"),
        ("text/vtt;q=0.5, application/x-subrip", "application/x-subrip"),
        ("text/html, text/*;q=0.8", "text/plain; charset=utf-8"),
        ("text/tab-separated-values", "text/tab-separated-values; charset=utf-8"),
    ],
)
def test_accept_chooses_the_format(service: Service, job: dict[str, Any], accept: str | None, media_type: str) -> None:
    request = service.client.build_request("GET", job["links"]["transcript"])
    del request.headers["Accept"]
    request.headers.update({"Accept": accept} if accept else {})
    response = service.client.send(request)
    assert (response.status_code, response.headers["Content-Type"]) == (200, media_type)
    assert response.headers["Vary"] == "Accept"


def test_format_takes_precedence_over_accept(service: Service, job: dict[str, Any]) -> None:
    response = service.client.get(
        job["links"]["transcript"], params={"format": "vtt"}, headers={"Accept": "application/pdf"}
    )
    assert response.text.startswith("WEBVTT")


def test_media_types_that_are_not_offered_are_not_acceptable(service: Service, job: dict[str, Any]) -> None:
    response = service.client.get(job["links"]["transcript"], headers={"Accept": "application/pdf, text/vtt;q=0"})
    assert (response.status_code, response.json()["code"]) == (406, "not_acceptable")


def test_the_error_names_an_unknown_format(service: Service, job: dict[str, Any]) -> None:
    response = service.client.get(job["links"]["transcript"], params={"format": "pdf"})
    assert response.status_code == 422
    assert [error["field"] for error in response.json()["errors"]] == ["query.format"]


def test_a_job_that_has_not_ended_has_no_transcript(guarded: Service) -> None:
    response = guarded.client.get(guarded.create()["links"]["transcript"])
    assert (response.status_code, response.json()["code"]) == (409, "not_completed")


def test_a_recording_without_speech_has_an_empty_transcript(service: Service) -> None:
    ended = service.ended(service.create())
    transcript = json.loads(read(service, ended, "json"))
    assert (ended["status"], ended["language"]) == ("completed", None)
    assert (transcript["text"], transcript["segments"], transcript["turns"]) == ("", [], [])


def test_the_log_names_the_job_but_holds_no_words_of_the_call(service: Service, job: dict[str, Any]) -> None:
    log = service.log()
    assert job["id"] in log
    for word in ("calling", "Miller", "Greenhorn"):
        assert word not in log
