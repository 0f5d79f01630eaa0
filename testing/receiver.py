"""A real receiver of webhooks on this machine. The path of a request decides how the receiver behaves."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

HUGE_BYTES = 50_000_000
TLS_HANDSHAKE = b"\x16"


@dataclass(frozen=True)
class Received:
    """A request. The names of its headers are in lower case."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]


def answer(status: int, *headers: str, body: str = "") -> bytes:
    lines = [f"HTTP/1.1 {status} Word", *headers, f"Content-Length: {len(body)}", "", body]
    return "\r\n".join(lines).encode()


class Receiver:
    """Answers a request for `/200` with the status 200, and so on.

    `wait_in_answer` delays answers. `busy` counts the requests in progress, and `most_busy` is its peak.
    """

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.port = 0
        self.busy = self.most_busy = 0
        self.huge_sent = 0
        self.wait_in_answer: Callable[[], Awaitable[None]] | None = None

    def url(self, path: str, *, host: str = "127.0.0.1", scheme: str = "http") -> str:
        return f"{scheme}://{host}:{self.port}{path}"

    def at(self, path: str) -> list[Received]:
        return [request for request in self.received if request.path == path]

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.busy += 1
        self.most_busy = max(self.most_busy, self.busy)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                first = await reader.readexactly(1)
                if first == TLS_HANDSHAKE:
                    writer.write(answer(400))
                    return
                await self._answer(await _request(first, reader), reader, writer)
        finally:
            self.busy -= 1
            writer.close()

    async def _answer(self, request: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.received.append(request)
        if self.wait_in_answer is not None:
            await self.wait_in_answer()
        match request.path.rpartition("/")[2]:
            case "hang":
                await reader.read()
            case "trickle":
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
                while not reader.at_eof():
                    writer.write(b".")
                    await writer.drain()
                    with suppress(TimeoutError):
                        await asyncio.wait_for(reader.read(), 0.2)
            case "huge":
                writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {HUGE_BYTES}\r\n\r\n".encode())
                while self.huge_sent < HUGE_BYTES:
                    writer.write(b"\0" * 10_000)
                    await writer.drain()
                    self.huge_sent += 10_000
            case "reset":
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            case "429":
                writer.write(answer(429, "Retry-After: 3600"))
            case "301":
                writer.write(answer(301, f"Location: {self.url('/moved')}"))
            case status:
                code = int(status) if status.isdecimal() else 200
                writer.write(answer(code, "Set-Cookie: a=b", body="thanks" if code != 204 else ""))
        await writer.drain()


async def _request(beginning: bytes, reader: asyncio.StreamReader) -> Received:
    head = (beginning + await reader.readuntil(b"\r\n\r\n")).decode()
    first, *lines = head.strip().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    method, target, _ = first.split(" ")
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Received(method, target, headers, body)


@asynccontextmanager
async def receiving(host: str = "127.0.0.1") -> AsyncIterator[Receiver]:
    """Runs a receiver on a free port until the end of the block."""
    receiver = Receiver()
    server = await asyncio.start_server(receiver.handle, host)
    receiver.port = server.sockets[0].getsockname()[1]
    async with server:
        yield receiver
        server.close()
