"""Programs that people point at the service: it answers the requests that they send, as these programs read answers.

What each program sends is in `testing/captured_requests/`. What it reads of the answer is a function here.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from testing.captured import FOLDER, send
from testing.hearing import FEW, FOX, missed
from testing.recordings import call, said
from testing.service import Service
from testing.speech_samples import sample

MONO = FOX.path.read_bytes()
HOME_ASSISTANT_SECONDS = 10.0  # its integration `openai_stt` gives up after this time


def text(body: dict[str, Any]) -> str:
    assert isinstance(body["text"], str)
    return body["text"]


def joined_segments(body: dict[str, Any]) -> str:
    """FusionPBX asks whether there is an `error`, adds to `start` and `end`, and joins the texts without a space."""
    assert "error" not in body
    for segment in body["segments"]:
        assert 0 <= segment["start"] + 0 < segment["end"] + 0
    return "".join(segment["text"] for segment in body["segments"])


@dataclass(frozen=True)
class Program:
    """A program that sends the request of a file, how it finds the text in the JSON of the answer, and its patience."""

    file: str
    read: Callable[[dict[str, Any]], str]
    seconds: float = 60.0


PROGRAMS = {
    "n8n": Program("n8n", text),
    "Dify": Program("dify", text),
    "Dify's plugin for OpenAI-compatible services": Program("dify_plugin", text),
    "Open WebUI": Program("open_webui", text),
    "Open WebUI, when it repeats": Program("open_webui_without_language", text),
    "FusionPBX, one channel": Program("fusionpbx", joined_segments),
    "FusionPBX, engine local, one of two channels": Program("fusionpbx_local", joined_segments),
    "Home Assistant, openai_stt": Program("home_assistant_openai_stt", text, HOME_ASSISTANT_SECONDS),
    "Home Assistant, openai_whisper_cloud": Program("home_assistant_whisper_cloud", text),
}
POSTS = sorted(file.stem for file in FOLDER.glob("*.http") if file.read_text().startswith("POST"))


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
def test_a_program_finds_what_was_said_in_the_answer(service: Service, program: Program) -> None:
    answer = send(service, program.file, MONO, timeout=program.seconds)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert missed(FOX.text, program.read(answer.json())) <= FEW


def test_fusionpbx_with_the_engine_local_stores_the_text_of_a_mono_call_as_it_comes(service: Service) -> None:
    answer = send(service, "fusionpbx_local_mono", MONO)
    assert (answer.status_code, answer.headers["content-type"].partition(";")[0]) == (200, "text/plain")
    assert missed(FOX.text, answer.text) <= FEW


def test_fusionpbx_finds_both_speakers_of_a_stereo_call(service: Service) -> None:
    answer = send(service, "fusionpbx_diarize", call(0.0, 12.5))
    assert answer.status_code == 200, answer.text
    segments = answer.json()["segments"]
    joined_segments(answer.json())
    assert [each["start"] for each in segments] == sorted(each["start"] for each in segments)
    for letter, speaker in {"A": "agent", "B": "customer"}.items():
        heard = " ".join(each["text"] for each in segments if each["speaker"] == letter)
        assert missed(said(0.0, 12.5, speaker), heard) <= FEW
    assert {each["speaker"] for each in segments} == {"A", "B"}


def test_home_assistants_wyoming_proxy_joins_the_deltas_of_a_stream(service: Service) -> None:
    answer = send(service, "home_assistant_wyoming", MONO)
    assert (answer.status_code, answer.headers["content-type"].partition(";")[0]) == (200, "text/event-stream")
    events = events_of(answer)
    deltas = "".join(each["delta"] for each in events if each["type"] == "transcript.text.delta")
    [done] = (each for each in events if each["type"] == "transcript.text.done")
    assert (deltas.strip(), events[-1]) == (done["text"].strip(), done)
    assert missed(FOX.text, deltas) <= FEW


def events_of(answer: httpx.Response) -> list[dict[str, Any]]:
    return [json.loads(line.removeprefix("data:")) for line in answer.text.splitlines() if line.startswith("data:")]


def test_n8n_translates_into_english(service: Service) -> None:
    spanish = sample("es", "conteo")
    answer = send(service, "n8n_translate", spanish.path.read_bytes())
    assert answer.status_code == 200, answer.text
    assert text(answer.json())
    job = service.read(f"/v1/transcriptions/{answer.headers['x-callscribe-id']}")
    assert job["options"]["task"] == "translate"


def test_open_webui_repeats_without_the_language_that_was_refused(service: Service) -> None:
    refused = send(service, "open_webui", MONO, language="tlh")
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "language")
    repeated = send(service, "open_webui_without_language", MONO)
    assert missed(FOX.text, text(repeated.json())) <= FEW


def test_home_assistant_accepts_a_model_that_the_service_names(service: Service) -> None:
    answer = send(service, "home_assistant_asks_for_the_model", timeout=HOME_ASSISTANT_SECONDS)
    assert (answer.status_code, answer.json()["id"]) == (200, "whisper-1")


def test_home_assistant_sees_a_wrong_key_as_such(guarded: Service) -> None:
    answer = send(guarded, "home_assistant_asks_for_the_model", key="wrong")
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")


@pytest.mark.parametrize("file", POSTS)
def test_a_program_can_show_its_user_why_it_was_refused(guarded: Service, file: str) -> None:
    """All these programs read `error.message`, show the whole body, or look whether there is an `error`."""
    answer = send(guarded, file, MONO, key="wrong")
    assert (answer.status_code, answer.headers["content-type"]) == (401, "application/json")
    assert "key" in answer.json()["error"]["message"]
