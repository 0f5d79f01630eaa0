"""The limits on what clients hold through their connections, tested with raw sockets."""

import asyncio
import errno
import re
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from app.api.server import connection_limits, connections, request_limits
from app.database.connections import Database
from testing.forms import refused
from testing.listening import listening
from testing.rows import enqueue
from testing.service import eventually

HEAD = b"GET /healthz HTTP/1.1\r\nHost: here\r\n"
MOST = 10_000_000


async def sent_until_closed(port: int, start: bytes, piece: bytes, pause: float = 0.0) -> int:
    """Send `start`, then `piece` again and again. Returns how many bytes were taken."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(start)
    closed = asyncio.create_task(reader.read())
    sent = 0
    try:
        while not closed.done() and sent < MOST:
            writer.write(piece)
            await writer.drain()
            sent += len(piece)
            await asyncio.wait([closed], timeout=pause)
    except ConnectionError:
        pass
    writer.transport.abort()
    await asyncio.gather(closed, return_exceptions=True)
    return sent


@pytest.fixture
async def port(database: Database, tmp_path: Path) -> AsyncIterator[int]:
    async with listening(database, tmp_path) as service:
        yield service.port


@pytest.mark.parametrize(
    ("start", "piece"),
    [
        (b"GET /", b"a" * 1000),
        (HEAD + b"X-Long: ", b"a" * 1000),
        (HEAD, b"X-Many: 1\r\n" * 100),
        (HEAD.replace(b"GET", b"POST") + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX-Trailer: ", b"a" * 1000),
        (b"", b"\r\n" * 500),
    ],
    ids=["url", "header", "headers", "trailer", "empty lines"],
)
async def test_a_head_without_an_end_is_cut_off(port: int, start: bytes, piece: bytes) -> None:
    assert await sent_until_closed(port, start, piece) < MOST


async def test_a_head_that_arrives_too_slowly_is_cut_off(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.3)
    async with listening(database, tmp_path) as service, asyncio.timeout(30):
        assert await sent_until_closed(service.port, HEAD + b"X-Slow: ", b"a", pause=0.05) < 400
        assert await sent_until_closed(service.port, HEAD + b"\r\n" + HEAD + b"X-Slow: ", b"a", pause=0.05) < 400


async def test_heads_within_the_limits_are_answered_on_one_connection(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for _ in range(5):
        writer.write(HEAD + b"X-Long: " + b"a" * 60_000 + b"\r\n\r\n")
        assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 200")
        await reader.readuntil(b"}")
    writer.transport.abort()


async def closed_within(reader: asyncio.StreamReader, seconds: float = 30.0) -> bytes:
    """The bytes that arrive until the other side closes the connection."""
    with suppress(ConnectionResetError):
        return await asyncio.wait_for(reader.read(), seconds)
    return b""


async def test_a_connection_that_sends_nothing_is_closed(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "FIRST_BYTE_SECONDS", 0.2)
    async with listening(database, tmp_path) as service:
        reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
        assert await closed_within(reader) == b""
        writer.close()


async def test_an_empty_text_line_after_an_answer_does_not_keep_the_connection_open(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.2)
    async with listening(database, tmp_path) as service:
        reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
        writer.write(HEAD + b"\r\n")
        await reader.readuntil(b"}")
        writer.write(b"\r\n")
        assert await closed_within(reader, 4.0) == b""  # before the end of uvicorn's keep-alive
        writer.close()


@pytest.mark.parametrize("path", ["/docs/static/swagger-ui-bundle.js", "/openapi.json"])
async def test_an_answer_that_is_not_read_is_dropped(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr(connections, "UNREAD_SECONDS", 0.3)
    async with listening(database, tmp_path) as service:
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.setblocking(False)
            await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", service.port))
            request = HEAD.replace(b"/healthz", path.encode()) + b"\r\n"
            client.sendall(request * connections.PIPELINED_REQUESTS)
            await asyncio.to_thread(eventually, lambda: bool(client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)))


async def test_an_answer_that_is_read_slowly_is_sent_completely(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "UNREAD_SECONDS", 0.3)
    async with listening(database, tmp_path) as service:
        reader, writer = await asyncio.open_connection("127.0.0.1", service.port, limit=4096)
        path = b"/docs/static/swagger-ui-bundle.js"
        writer.write(HEAD.replace(b"/healthz", path) + b"Connection: close\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        [announced] = re.findall(rb"content-length: (\d+)", head)
        came = 0
        while block := await reader.read(100_000):
            came += len(block)
            await asyncio.sleep(0.01)
        assert came == int(announced)
        writer.close()


@pytest.mark.parametrize(("requests", "answers"), [(connections.PIPELINED_REQUESTS, True), (1000, False)])
async def test_only_a_limited_number_of_pipelined_requests_is_answered(port: int, requests: int, answers: bool) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    last = HEAD + b"Connection: close\r\n\r\n"
    writer.write((HEAD + b"\r\n") * (requests - 1) + last)
    came = await closed_within(reader)
    assert (came.count(b"HTTP/1.1 200") == requests) is answers
    writer.close()


async def test_an_idle_connection_makes_room_for_another_of_its_client(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_limits, "IDLE_SECONDS", 0.0)
    async with listening(database, tmp_path, max_connections_per_client="2") as service:
        silent = [await asyncio.open_connection("127.0.0.1", service.port) for _ in range(5)]
        for reader, _ in silent[:3]:
            assert await closed_within(reader, 4.0) == b""  # before its silence would close it
        for reader, writer in silent[3:]:
            writer.write(HEAD + b"\r\n")
            assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 200")
        for _, writer in silent:
            writer.close()


async def test_a_client_whose_connections_are_all_busy_gets_no_further_connection(
    database: Database, tmp_path: Path
) -> None:
    job = await enqueue(database)
    async with listening(database, tmp_path, max_connections_per_client="2") as service:
        waiting = [await asyncio.open_connection("127.0.0.1", service.port) for _ in range(2)]
        for _, writer in waiting:
            writer.write(f"GET /v1/transcriptions/{job.id}?wait=60 HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        await asyncio.sleep(0.5)
        reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
        assert (await closed_within(reader)).startswith(b"HTTP/1.1 503")
        for each in (writer, *(writer for _, writer in waiting)):
            each.close()


class Crammed(socket.socket):
    """A listening socket whose first call fails, because the process has no free file."""

    crammed = True

    def accept(self) -> tuple[socket.socket, Any]:
        if self.crammed:
            self.crammed = False
            raise OSError(errno.EMFILE, "Too many open files")
        return super().accept()


async def test_the_service_accepts_connections_again_when_open_files_are_free(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = socket.create_server
    monkeypatch.setattr(socket, "create_server", lambda *_, **__: Crammed(fileno=create(("127.0.0.1", 0)).detach()))
    async with listening(database, tmp_path) as service:
        assert (await service.client.get("/healthz")).status_code == 200
        assert (await service.client.get("/readyz")).status_code == 200


async def test_requests_that_wait_too_long_for_a_place_are_answered_unavailable(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_limits, "MOST_WITH_KEY", 0)
    monkeypatch.setattr(request_limits, "LONGEST_WAIT_SECONDS", 0.1)
    async with listening(database, tmp_path) as service:
        response = await service.client.get("/v1/transcriptions")
        assert (await service.client.get("/healthz")).status_code == 200
    refused(response, 503, "unavailable")
    assert response.headers["Retry-After"] == "5"
