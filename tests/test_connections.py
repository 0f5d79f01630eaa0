"""What may come before a request's body, sent through raw sockets."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app import connections
from app.db import Database
from tests.listening import listening

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
async def test_a_head_without_an_end_is_hung_up_on(port: int, start: bytes, piece: bytes) -> None:
    assert await sent_until_closed(port, start, piece) < MOST


async def test_a_head_that_comes_too_slowly_is_hung_up_on(
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
