"""The port for Prometheus: what it answers, and that a process whose port is taken does not start."""

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from app.scraping import HEAD_BYTES, MOST_CONNECTIONS, open_metrics_port
from testing.service import callscribe


@pytest.fixture
async def port() -> AsyncIterator[int]:
    listener = socket.create_server(("127.0.0.1", 0))
    async with open_metrics_port(listener):
        yield listener.getsockname()[1]


async def exchanged(port: int, sent: bytes) -> bytes:
    """The answer; empty if the connection was closed without one."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    try:
        return await reader.read()
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


async def test_the_numbers_are_answered_before_there_is_a_database(port: int) -> None:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
        answer = await client.get("/metrics", params={"x": "1"})
        head = await client.head("/metrics")
        openmetrics = await client.get("/metrics", headers={"Accept": "application/openmetrics-text;version=1.0.0"})
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert "callscribe_build_info{" in answer.text
    assert (head.status_code, head.headers["Content-Length"], head.text) == (200, str(len(answer.content)), "")
    assert openmetrics.text.endswith("# EOF\n")


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        ("GET / HTTP/1.1", 404),
        ("GET /v1/transcriptions HTTP/1.1", 404),
        ("GET /metricsx HTTP/1.1", 404),
        ("POST /metrics HTTP/1.1", 405),
        ("nonsense", 404),
    ],
)
async def test_nothing_else_is_served(port: int, request_line: str, status: int) -> None:
    answer = await exchanged(port, f"{request_line}\r\nHost: x\r\n\r\n".encode())
    assert answer.split()[1] == str(status).encode()
    assert b"callscribe_" not in answer


async def test_a_head_that_is_too_long_gets_no_answer(port: int) -> None:
    assert await exchanged(port, b"GET /metrics HTTP/1.1\r\nX: " + b"x" * 2 * HEAD_BYTES) == b""


async def test_silent_clients_are_few(port: int) -> None:
    silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(MOST_CONNECTIONS)]
    assert await exchanged(port, b"GET /metrics HTTP/1.1\r\n\r\n") == b""
    for _, writer in silent:
        writer.close()


@pytest.mark.parametrize("command", ["serve", "worker"])
def test_a_port_that_is_in_use_is_one_error_at_the_start(tmp_path: Path, command: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        done = callscribe(command, folder=tmp_path, METRICS_PORT=str(number), MODEL="base")
    reason = "it is in use; choose another port"
    assert done.stderr == f"callscribe: CALLSCRIBE_METRICS_PORT={number} on 127.0.0.1: {reason}\n"
    assert done.returncode == 2
