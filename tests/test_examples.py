"""The programs in `examples/`: each posts a recording, checks webhooks, and prints the dialogue.

A relay stands between a program and the service. At first it answers 503, so that a program has to repeat its request.
Meanwhile the test sends forged webhooks to the program.
"""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import time
from asyncio import StreamReader, StreamWriter
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from standardwebhooks import Webhook

from testing.hearing import FEW, missed
from testing.ports import free_ports
from testing.recordings import call, said
from testing.service import Service, eventually, serving
from tests.conftest import ALICE, clone

EXAMPLES = Path(__file__).parents[1] / "examples"
PREFIX = "/speech"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
REQUIRED = bool(os.environ.get("NEED_RUNTIMES"))  # set by .ci/run, so that CI cannot skip these tests
PROGRAMS = {
    "python": ("python3", "python/callscribe.py"),
    "node": ("node", "node/callscribe.mjs"),
    "java": ("java", "java/Callscribe.java"),
}
pytestmark = pytest.mark.slow


def runs(runtime: str) -> pytest.MarkDecorator:
    missing = shutil.which(runtime) is None and not REQUIRED
    return pytest.mark.skipif(missing, reason=f"{runtime} is not installed")


@pytest.fixture(scope="module")
async def service(postgres: str, template: str, workspace: Path) -> AsyncIterator[Service]:
    async with clone(postgres, template) as address:
        settings = {"API_KEYS": f"alice:{ALICE}", "WEBHOOK_SECRET": SECRET, "ALLOWED_NETWORKS": "127.0.0.0/8"}
        settings["ROOT_PATH"] = PREFIX
        with serving(workspace / "examples", key=ALICE, DATABASE_URL=address, **settings) as service:
            yield service


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "call.wav"
    path.write_bytes(call(0.0, 12.0))
    return path


@dataclass
class BusyRelay:
    """Answers 503 until `open` is set. After that, it passes each connection on to the service."""

    service_port: int
    port: int = 0
    refused: asyncio.Event = field(default_factory=asyncio.Event)
    open: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle(self, reader: StreamReader, writer: StreamWriter) -> None:
        if self.open.is_set():
            from_service, to_service = await asyncio.open_connection("127.0.0.1", self.service_port)
            await asyncio.gather(_copy(reader, to_service), _copy(from_service, writer))
        else:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            await reader.readexactly(int(head.partition(b"content-length: ")[2].split(b"\r\n")[0]))
            writer.write(b"HTTP/1.1 503 Busy\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            await writer.drain()
            writer.close()
            self.refused.set()


async def _copy(reader: StreamReader, writer: StreamWriter) -> None:
    try:
        while piece := await reader.read(64 * 1024):
            writer.write(piece)
            await writer.drain()
    finally:
        writer.close()


@asynccontextmanager
async def busy(service: Service) -> AsyncIterator[BusyRelay]:
    relay = BusyRelay(service.port)
    server = await asyncio.start_server(relay.handle, "127.0.0.1", 0)
    relay.port = server.sockets[0].getsockname()[1]
    async with server:
        yield relay
        server.close()


async def started(*command: str | Path, receiver: int, api: int) -> Process:
    own = {
        "API_URL": f"http://127.0.0.1:{api}{PREFIX}",
        "API_KEY": ALICE,
        "PORT": str(receiver),
        "WEBHOOK_SECRET": SECRET,
    }
    return await asyncio.create_subprocess_exec(*command, env=os.environ | own, stdout=PIPE, stderr=PIPE)


async def ended(program: Process) -> tuple[int | None, str, str]:
    output, errors = await asyncio.wait_for(program.communicate(), 60)
    return program.returncode, output.decode(), errors.decode()


async def refuses_forged_webhooks(port: int) -> None:
    """Sends webhooks about another transcription. Only the one with a right and fresh signature is accepted."""
    data = {"id": "another", "status": "failed", "external_id": "another", "error": {"message": "broken"}, "links": {}}
    body = json.dumps({"type": "transcription.failed", "data": data})
    now = int(time.time())
    right, wrong = signed(now, body), signed(now, body + " ")
    expected = {
        (str(now), right): 204,
        (str(now), f"v1,{'A' * 43}= v1a,other {right}"): 204,
        (str(now), wrong): 401,
        (str(now), ""): 401,
        (str(now + 1), right): 401,
        (str(now - 301), signed(now - 301, body)): 401,
        ("soon", right): 401,
    }
    async with httpx.AsyncClient(trust_env=False) as client:
        for (timestamp, signature), status in expected.items():
            headers = {"webhook-id": "msg_1", "webhook-timestamp": timestamp, "webhook-signature": signature}
            answer = await client.post(f"http://127.0.0.1:{port}/", content=body, headers=headers)
            assert (answer.status_code, timestamp, signature) == (status, timestamp, signature)
        assert (await client.post(f"http://127.0.0.1:{port}/", content=body)).status_code == 401


def signed(timestamp: int, body: str) -> str:
    return Webhook(SECRET).sign("msg_1", datetime.fromtimestamp(timestamp, UTC), body)


def is_the_dialogue(text: str) -> bool:
    turns = [line for line in text.splitlines() if line.startswith("[00:0")]
    spoken = " ".join(line.split(": ", 1)[1] for line in turns)
    return "] agent: " in text and "] customer: " in text and missed(said(0.0, 12.0), spoken) <= FEW


@pytest.mark.parametrize("name", [pytest.param(name, marks=runs(PROGRAMS[name][0])) for name in PROGRAMS])
async def test_a_program_posts_a_call_checks_its_webhook_and_prints_the_dialogue(
    service: Service, recording: Path, name: str
) -> None:
    runtime, file = PROGRAMS[name]
    [port] = free_ports(1)
    command = (runtime, EXAMPLES / file, recording, f"rozmowa Łódź {name}")
    async with busy(service) as relay:
        program = await started(*command, receiver=port, api=relay.port)
        await asyncio.wait_for(relay.refused.wait(), 60)
        await refuses_forged_webhooks(port)
        relay.open.set()
        code, output, errors = await ended(program)
    assert (code, is_the_dialogue(output)) == (0, True), output + errors
    assert "The service is busy (503)." in errors

    again = await ended(await started(*command, receiver=port, api=service.port))
    assert (again[0], again[1]) == (0, output), again
    [_] = service.read(f"/v1/transcriptions?external_id=rozmowa Łódź {name}")["items"]


@pytest.mark.parametrize("name", [pytest.param(name, marks=runs(PROGRAMS[name][0])) for name in PROGRAMS])
async def test_a_program_prints_why_its_request_was_refused(service: Service, tmp_path: Path, name: str) -> None:
    runtime, file = PROGRAMS[name]
    [port] = free_ports(1)
    (tmp_path / "notes.txt").write_text("this is no recording")
    program = await started(runtime, EXAMPLES / file, tmp_path / "notes.txt", "notes", receiver=port, api=service.port)
    code, output, errors = await ended(program)
    assert (code, output) == (1, "")
    assert "unsupported_media" in errors
    code, _, errors = await ended(await started(runtime, EXAMPLES / file, receiver=port, api=service.port))
    assert (code, errors.startswith("usage: ")) == (2, True)


@runs("php")
async def test_php_posts_a_call_and_its_receiver_checks_the_webhook_and_logs_the_dialogue(
    service: Service, recording: Path, tmp_path: Path
) -> None:
    [port] = free_ports(1)
    post = EXAMPLES / "php" / "post.php"
    async with busy(service) as relay:
        receiver = await started(
            "php", "-S", f"127.0.0.1:{port}", EXAMPLES / "php" / "webhook.php", receiver=port, api=service.port
        )
        try:
            program = await started("php", post, recording, "rozmowa Łódź", receiver=port, api=relay.port)
            await asyncio.wait_for(relay.refused.wait(), 60)
            await refuses_forged_webhooks(port)
            relay.open.set()
            code, output, errors = await ended(program)
            assert (code, output.split()[1]) == (0, "pending"), output + errors
            job = {"links": {"self": f"/v1/transcriptions/{output.split()[0]}"}}
            await asyncio.to_thread(
                eventually, lambda: service.read(job["links"]["self"])["notify_status"] == "notified"
            )
        finally:
            receiver.terminate()
            code, output, log = await ended(receiver)
    assert "The service is busy (503)." in errors
    assert "another: the transcription is failed: broken" in log
    assert is_the_dialogue(log), log

    (tmp_path / "notes.txt").write_text("this is no recording")
    refused = await ended(await started("php", post, tmp_path / "notes.txt", "notes", receiver=port, api=service.port))
    assert (refused[0], refused[1], "unsupported_media" in refused[2]) == (1, "", True)
    assert (await ended(await started("php", post, receiver=port, api=service.port)))[0] == 2


async def test_a_program_plays_a_live_call_and_prints_its_text(service: Service, recording: Path) -> None:
    url = f"http://127.0.0.1:{service.port}{PREFIX}"
    command = [sys.executable, str(EXAMPLES / "python" / "live.py"), str(recording), "--url", url]
    options = ["--language", "en", "--labels", "agent,customer", "--speed", "2"]
    program = await asyncio.create_subprocess_exec(
        *command, *options, env=os.environ | {"CALLSCRIBE_KEY": ALICE}, stdout=PIPE, stderr=PIPE
    )
    status, output, _ = await ended(program)
    assert status == 0
    assert "agent: Thank you for calling" in output
    transcription = output.rpartition("transcription: ")[2].strip()
    assert service.ended({"links": {"self": transcription}})["status"] == "completed"


async def plays_with_node(service: Service, recording: Path, key: str) -> tuple[int | None, str, str]:
    address = {"API_URL": f"http://127.0.0.1:{service.port}{PREFIX}", "CALLSCRIBE_KEY": key}
    command = ["node", "--experimental-websocket", str(EXAMPLES / "node" / "live.mjs"), str(recording), "en"]
    return await ended(
        await asyncio.create_subprocess_exec(*command, env=os.environ | address, stdout=PIPE, stderr=PIPE)
    )


def has_websocket() -> bool:
    """Whether Node has a WebSocket, at least if it is asked for one."""
    if shutil.which("node") is None:
        return False
    command = ["node", "--experimental-websocket", "--eval", "process.exit(typeof WebSocket === 'function' ? 0 : 1)"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not has_websocket(), reason="Node has no WebSocket before version 20.10")
async def test_a_program_for_node_plays_a_live_call_with_a_token(service: Service, recording: Path) -> None:
    status, output, errors = await plays_with_node(service, recording, ALICE)
    assert status == 0, errors
    assert "channel_0: Thank you for calling" in output
    transcription = output.rpartition("transcription: ")[2].strip()
    assert service.ended({"links": {"self": transcription}})["status"] == "completed"

    status, _, errors = await plays_with_node(service, recording, "")
    assert status == 1
    assert "unauthorized" in errors


async def test_the_program_of_live_calls_says_why_it_was_refused(service: Service, recording: Path) -> None:
    url = f"http://127.0.0.1:{service.port}{PREFIX}"
    program = await asyncio.create_subprocess_exec(
        sys.executable, EXAMPLES / "python" / "live.py", recording, "--url", url, stdout=PIPE, stderr=PIPE
    )
    status, _, errors = await ended(program)
    assert status == 1
    assert "unauthorized" in errors
