"""Clients that are generated from `/openapi.json` can be imported, upload a recording and read everything about it."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest

from testing.environments import environment
from testing.hearing import FEW, missed
from testing.recordings import call, said
from testing.service import Service

PROGRAMS = Path(__file__).parents[1] / "testing" / "generated_clients"
# They need other versions of our dependencies, so they get an environment of their own.
PACKAGES = ("openapi-python-client==0.29.1", "openapi-generator-cli==7.26.0", "python-dateutil", "urllib3>=2.7")
REQUIRED = bool(os.environ.get("NEED_RUNTIMES"))  # set by .ci/run, so that CI cannot skip these tests
pytestmark = pytest.mark.slow


def run(*command: str | Path, folder: Path, path: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PATH": f"{path}:{os.environ['PATH']}", "PYTHONPATH": str(folder)}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=100, check=False
    )


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the generators' programs, in a new environment."""
    folder = tmp_path_factory.mktemp("generators")
    programs = environment(folder / "environment", PACKAGES)
    if programs is None and not REQUIRED:
        pytest.skip("the generators cannot be installed here")
    assert programs is not None
    return programs


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "call.wav"
    path.write_bytes(call(0.0, 6.0))
    return path


def check(service: Service, recording: Path, read: dict[str, Any]) -> None:
    """Checks what a program printed. Its requests were the same as those that are sent here, so the job is the same."""

    def answer(**fields: Any) -> httpx.Response:
        fields |= {"channels": "split", "timestamp_granularities": ["word", "segment"], "language": "en"}
        files = {"file": (recording.name, recording.read_bytes())}
        return service.client.post("/v1/audio/transcriptions", files=files, data=fields, timeout=60)

    answers = read.pop("answers")
    assert answers == {form: answer(response_format=form).json() for form in answers}
    assert set(answers["verbose_json"]) > {"task", "language", "duration", "segments", "words"}
    assert read.pop("srt") == answer(response_format="srt").text
    rows = answer(response_format="diarized_json", stream="true").text.splitlines()
    assert read.pop("events") == [json.loads(row.removeprefix("data: ")) for row in rows if row.startswith("data: ")]
    heard, completed_at = read.pop("text"), read.pop("completed_at")
    assert missed(said(0.0, 6.0), heard) <= FEW
    assert heard.strip().startswith(read.pop("first_word").strip())
    assert completed_at.endswith("+00:00")
    assert read == {
        "created": "pending",
        "started_at": None,
        "ended": "completed",
        "labels": ["agent", "customer"],
        "metadata": {"queue": "orders"},
        "deliveries": ["https://crm.example/a,b", "https://crm.example/c"],
        "redelivered": "pending",
        "listed": True,
        "missing": "not_found",
    }


def test_a_client_of_openapi_python_client(service: Service, programs: Path, recording: Path, tmp_path: Path) -> None:
    options = ("--meta", "none", "--output-path", tmp_path / "callscribe_client", "--fail-on-warning")
    command = (programs / "openapi-python-client", "generate", "--url", f"{service.url}/openapi.json", *options)
    generated = run(*command, folder=tmp_path, path=programs)
    assert generated.returncode == 0, generated.stdout + generated.stderr
    program = PROGRAMS / "with_openapi_python_client.py"
    ran = run(programs / "python", program, service.url, recording, folder=tmp_path, path=programs)
    assert ran.returncode == 0, ran.stderr
    check(service, recording, json.loads(ran.stdout))


@pytest.mark.skipif(shutil.which("java") is None and not REQUIRED, reason="java is not installed")
def test_a_python_client_of_openapi_generator(
    service: Service, programs: Path, recording: Path, tmp_path: Path
) -> None:
    command = f"generate -i {service.url}/openapi.json -g python -o {tmp_path}"
    generated = run(programs / "openapi-generator-cli", *command.split(), folder=tmp_path, path=programs)
    assert generated.returncode == 0, generated.stdout + generated.stderr
    assert "COLLISION" not in generated.stdout + generated.stderr
    compiled = run(programs / "python", "-m", "compileall", "-q", "openapi_client", folder=tmp_path, path=programs)
    assert compiled.returncode == 0, compiled.stdout
    program = PROGRAMS / "with_openapi_generator.py"
    ran = run(programs / "python", program, service.url, recording, folder=tmp_path, path=programs)
    assert ran.returncode == 0, ran.stderr
    check(service, recording, json.loads(ran.stdout))
