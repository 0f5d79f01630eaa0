"""Answers Prometheus on a port of its own, which serves nothing else.

A worker has no other HTTP server, and must not load the web framework for this one. The port answers before the
database is up, so that a process that waits for its database can be told from a dead one.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus

from app import metrics
from app.metrics import Reading

PATH = "/metrics"
HEAD_BYTES = 16 * 1024
SECONDS = 10.0  # for a request and its answer
MOST_CONNECTIONS = 8

Numbers = Callable[[str], Awaitable[tuple[bytes, str]]]


async def _counters_only(accept: str) -> tuple[bytes, str]:
    return metrics.exposition(Reading(), accept)


class MetricsPort:
    """Answers with what `numbers` returns for the request's `Accept` header."""

    def __init__(self) -> None:
        self.numbers: Numbers = _counters_only
        self._connections = 0

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answers one request, and closes the connection."""
        self._connections += 1
        try:
            if self._connections <= MOST_CONNECTIONS:
                async with asyncio.timeout(SECONDS):
                    writer.write(await self._answer_to(await reader.readuntil(b"\r\n\r\n")))
                    await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            writer.transport.abort()
        finally:
            self._connections -= 1
            writer.close()

    async def _answer_to(self, head: bytes) -> bytes:
        first, *lines = head.decode("latin-1").split("\r\n")
        method, _, rest = first.partition(" ")
        path = rest.partition(" ")[0].partition("?")[0]
        if path != PATH:
            return _response(HTTPStatus.NOT_FOUND, method)
        if method not in ("GET", "HEAD"):
            return _response(HTTPStatus.METHOD_NOT_ALLOWED, method, extra="Allow: GET, HEAD\r\n")
        headers = (line.partition(":") for line in lines)
        accept = ",".join(value for name, _, value in headers if name.lower() == "accept")
        return _response(HTTPStatus.OK, method, *await self.numbers(accept))


def _response(
    status: HTTPStatus, method: str, body: bytes = b"", media_type: str = "text/plain", extra: str = ""
) -> bytes:
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: {media_type}\r\nContent-Length: {len(body)}\r\n"
        f"{extra}Cache-Control: no-store\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + (b"" if method == "HEAD" else body)


@asynccontextmanager
async def open_metrics_port(listener: socket.socket | None) -> AsyncIterator[MetricsPort]:
    """Answers on the listening socket until the end of the block. Without a socket, nobody is answered."""
    port = MetricsPort()
    if listener is None:
        yield port
        return
    server = await asyncio.start_server(port.answer, sock=listener, limit=HEAD_BYTES)
    try:
        yield port
    finally:
        server.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(1):
                await server.wait_closed()
