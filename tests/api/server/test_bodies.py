"""Bodies that arrive too slowly, and answers before the end of a body, on real connections."""

import asyncio
import http.client
import shutil
import socket
import subprocess
from pathlib import Path

import httpx
import pytest

from app.api.server import bodies
from app.database.connections import Database
from testing.forms import END, FORM_TYPE, file, refused
from testing.listening import listening
from testing.service import Service
from tests.conftest import ALICE

BIG = 20_000_000
HEAD = f"POST /v1/transcriptions HTTP/1.1\r\nHost: localhost\r\nContent-Type: {FORM_TYPE}\r\n"
WRONG = {"Authorization": "Bearer wrong"}
RIGHT = {"Authorization": f"Bearer {ALICE}"}
REFUSALS = [(WRONG, 401), (RIGHT, 413)]


@pytest.mark.parametrize(("key", "status"), REFUSALS)
def test_httpx_sees_why_a_big_upload_is_refused(guarded: Service, key: dict[str, str], status: int) -> None:
    headers = {**key, "Content-Type": FORM_TYPE}
    response = httpx.post(f"{guarded.url}/v1/transcriptions", content=bytes(BIG), headers=headers, trust_env=False)
    assert response.status_code == status
    assert response.headers["Connection"] == "close"


@pytest.mark.parametrize(("key", "status"), REFUSALS)
def test_http_client_sees_why_a_big_upload_is_refused(guarded: Service, key: dict[str, str], status: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", guarded.port, timeout=60)
    connection.request("POST", "/v1/transcriptions", body=bytes(BIG), headers={**key, "Content-Type": FORM_TYPE})
    assert connection.getresponse().status == status
    connection.close()


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
@pytest.mark.parametrize(("key", "status"), REFUSALS)
@pytest.mark.parametrize("expect", ["Expect: 100-continue", "Expect:"])
def test_curl_sees_why_a_big_upload_is_refused(
    guarded: Service, key: dict[str, str], status: int, expect: str, tmp_path: Path
) -> None:
    recording = tmp_path / "call.wav"
    recording.write_bytes(bytes(BIG))
    url = f"{guarded.url}/v1/transcriptions"
    command = ["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "-H", expect, "-F", f"file=@{recording}", url]
    headers = [part for name, value in key.items() for part in ("-H", f"{name}: {value}")]
    done = subprocess.run([*command, *headers], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, str(status)), done.stderr


def test_the_connection_is_kept_after_a_body_that_was_read_to_its_end(guarded: Service) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", guarded.port, timeout=60)
    for _ in range(2):
        connection.request("POST", "/v1/transcriptions", body=file(b"text") + END, headers=headers())
        answer = connection.getresponse()
        assert (answer.status, answer.getheader("Connection"), bool(answer.read())) == (415, None, True)
    connection.close()


def headers() -> dict[str, str]:
    return {**RIGHT, "Content-Type": FORM_TYPE}


@pytest.mark.parametrize("chunks", [0, 50], ids=["nothing more", "a byte at a time"])
async def test_a_body_that_arrives_too_slowly_is_refused_and_leaves_nothing(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunks: int
) -> None:
    monkeypatch.setattr(bodies, "STALL_SECONDS", 0.3)
    async with listening(database, tmp_path) as service:
        reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
        writer.write(HEAD.encode() + b"Content-Length: 100000\r\n\r\n" + file()[:200])
        answer = asyncio.create_task(reader.read())
        for _ in range(chunks):
            await asyncio.wait([answer], timeout=0.05)
            if answer.done():
                break
            writer.write(b"x")
        status, _, rest = (await answer).partition(b"\r\n")
        writer.close()
        assert status == b"HTTP/1.1 408 Request Timeout"
        assert b'"code":"request_timeout"' in rest
        assert service.stored_files() == []


async def test_the_service_closes_the_connection_of_a_client_that_keeps_sending_after_a_refusal(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "DRAIN_BYTES", 1_000_000)
    async with listening(database, tmp_path, max_upload_bytes="1000") as service:
        sent = await asyncio.to_thread(offer, service.port, 1_000_000_000)
    assert sent < 20_000_000  # the drained bytes and the buffers of both sides
    assert service.stored_files() == []


def offer(port: int, most: int) -> int:
    """Send until the connection is closed. Returns how many bytes could be sent."""
    sent = 0
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(HEAD.encode() + f"Content-Length: {most}\r\n\r\n".encode())
        try:
            while sent < most:
                sent += connection.send(bytes(65_536))
        except ConnectionError:
            pass
    return sent


async def test_a_refused_form_is_answered_with_its_code(database: Database, tmp_path: Path) -> None:
    async with listening(database, tmp_path, max_upload_bytes="1000") as service:
        answer = await service.client.post(
            "/v1/transcriptions", content=file(bytes(BIG)) + END, headers={"Content-Type": FORM_TYPE}
        )
    refused(answer, 413, "too_large")
