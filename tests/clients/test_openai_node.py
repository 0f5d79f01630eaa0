"""OpenAI's client for Node against the running service. One program asks for everything, and this test checks it."""

import asyncio
import json
import shutil
from asyncio.subprocess import PIPE
from pathlib import Path
from typing import Any

import pytest

from testing.breaking_relay import breaking
from testing.client_packages import node_clients
from testing.hearing import FEW, FOX, missed
from testing.recordings import call, said
from testing.service import Service

PROGRAM = Path(__file__).parents[2] / "testing" / "node_clients" / "with_openai.mjs"
SECONDS = 12.5
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
async def read(service: Service, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the program printed. One of its requests goes through a relay that loses the first answer."""
    folder = tmp_path_factory.mktemp("node")
    program = shutil.copy(PROGRAM, node_clients(folder))
    (folder / "call.wav").write_bytes(call(0.0, SECONDS))
    async with breaking(service.port, break_after=0, breaks=1) as relay:
        command = ("node", program, service.url, f"http://127.0.0.1:{relay.port}", FOX.path, folder / "call.wav")
        ran = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE)
        output, errors = await ran.communicate()
    assert ran.returncode == 0, errors.decode()
    printed: dict[str, Any] = json.loads(output)
    return printed


def test_each_format_is_read(read: dict[str, Any]) -> None:
    verbose = read["verbose"]
    spoken = [read["json"]["text"], read["text"], read["srt"], verbose["text"]]
    spoken.append(" ".join(word["word"] for word in verbose["words"]))
    assert [missed(FOX.text, each) <= FEW for each in spoken] == [True] * len(spoken)
    assert (verbose["language"], verbose["segments"][0]["tokens"]) == ("english", [])
    assert read["json"]["usage"]["type"] == "duration"


def test_speakers_are_named(read: dict[str, Any]) -> None:
    for speaker in ("agent", "customer"):
        heard = " ".join(each["text"] for each in read["diarized"]["segments"] if each["speaker"] == speaker)
        assert missed(said(0.0, SECONDS, speaker), heard) <= FEW


def test_a_stream_ends_with_the_whole_text(read: dict[str, Any]) -> None:
    *before, done = read["events"]
    assert done["type"] == "transcript.text.done"
    assert "".join(event["delta"] for event in before).strip() == done["text"].strip()
    assert missed(FOX.text, done["text"]) <= FEW


def test_translations_and_models_are_read(read: dict[str, Any]) -> None:
    assert missed(FOX.text, read["translation"]["text"]) <= FEW  # English stays English
    assert "base" in read["models"]
    assert (read["model"]["id"], read["model"]["object"]) == ("whisper-1", "model")


def test_a_header_leads_to_the_job(read: dict[str, Any], service: Service) -> None:
    assert service.read(f"/v1/transcriptions/{read['id']}")["status"] == "completed"


def test_a_client_repeats_if_its_answer_is_lost(read: dict[str, Any]) -> None:
    assert missed(FOX.text, read["repeated"]["text"]) <= FEW
    assert read["repeated"]["requests"] == 2


def test_refusals_are_errors_of_the_right_class(read: dict[str, Any]) -> None:
    assert read["refused"] == {
        "format": refused("BadRequestError", 400, "unsupported_value", "response_format"),
        "model": refused("NotFoundError", 404, "model_not_found", "model"),
        "retrieved": refused("NotFoundError", 404, "model_not_found", "model"),
        "file": refused("APIError", 415, "unsupported_media", "file"),
    }


def refused(kind: str, status: int, code: str, param: str) -> dict[str, Any]:
    return {"kind": kind, "status": status, "code": code, "param": param, "type": "invalid_request_error"}
