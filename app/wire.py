"""One connection to a server that a client named. It reads only what is asked for, counts it, and paces it.

The HTTP library parses whatever a read returns without a pause, and drops interim answers without a word; TLS does the
same with its own messages. So the limits stand below both, at the socket. Judging addresses is the guard's business.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from ipaddress import IPv4Address, IPv6Address
from typing import Any, TypeVar

import httpcore
import httpx

from app.pacing import Budget, Meter

MAX_HEAD_BYTES = 64 * 1024  # of everything before the answer: interim answers and its own head
MAX_HEAD_LINES = 512
MAX_WRAPPING_BYTES = 256 * 1024  # TLS, heads, chunk sizes, trailers: so much more than the content, and no more
SMALL_READ_BYTES = 4 * 1024  # what costs most to parse, interim answers, takes 4 ms of it
READ_BYTES = 64 * 1024
READ_PRICE_SECONDS = 0.0001  # what a read costs the event loop, beside what is done with it here

T = TypeVar("T")


class AnswerTooLong(httpx.RemoteProtocolError):
    """A server sent more around an answer than it may."""


class Wire(httpcore.AsyncNetworkStream):
    """A connected socket, with TLS or without. Raises httpcore's errors, and AnswerTooLong."""

    def __init__(self, connected: socket.socket, meter: Meter) -> None:
        self._socket = connected
        self._meter = meter
        self._tls: _Tls | None = None
        self._wire_bytes = self._content_bytes = 0
        self._head_bytes = self._head_lines = 0
        self._in_head = True

    @classmethod
    async def connect(
        cls, address: IPv4Address | IPv6Address, port: int, budget: Budget, seconds: float | None
    ) -> "Wire":
        family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
        connected = socket.socket(family, socket.SOCK_STREAM)
        try:
            connected.setblocking(False)
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with _errors(httpcore.ConnectTimeout, httpcore.ConnectError):
                async with asyncio.timeout(seconds):
                    await asyncio.get_running_loop().sock_connect(connected, (str(address), port))
        except BaseException:
            connected.close()
            raise
        return cls(connected, Meter(budget))

    async def shake_hands(self, context: ssl.SSLContext, name: str, seconds: float | None) -> None:
        """Begin TLS with a server that proves to be `name`."""
        self._tls = _Tls(context, name)
        with _errors(httpcore.ConnectTimeout, httpcore.ConnectError):
            async with asyncio.timeout(seconds):
                await self._through(self._tls, self._tls.talk.do_handshake)

    def head_is_over(self) -> None:
        self._in_head = False

    async def content(self, count: int, price_seconds: float) -> None:
        """Count bytes of the answer's body that reached whom they are for."""
        self._content_bytes += count
        await self._meter.settle(price_seconds)

    def leave(self) -> None:
        """The reader of the body goes about its own work."""
        self._meter.stop()

    def come_back(self) -> None:
        self._meter.start()

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109  httpcore's name
        if self._in_head and (self._head_bytes > MAX_HEAD_BYTES or self._head_lines > MAX_HEAD_LINES):
            raise AnswerTooLong(f"more than {MAX_HEAD_BYTES} bytes or {MAX_HEAD_LINES} lines before the answer")
        await self._meter.settle(READ_PRICE_SECONDS)
        most = min(max_bytes, self._read_bytes)
        with _errors(httpcore.ReadTimeout, httpcore.ReadError):
            async with asyncio.timeout(timeout):
                if self._tls is None:
                    received = await self._receive(most)
                else:
                    received = await self._through(self._tls, self._tls.read, most)
        if self._in_head:
            self._head_bytes += len(received)
            self._head_lines += received.count(b"\n")
        return received

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        with _errors(httpcore.WriteTimeout, httpcore.WriteError):
            async with asyncio.timeout(timeout):
                if self._tls is None:
                    await self._send(buffer)
                else:
                    await self._through(self._tls, self._tls.talk.write, buffer)

    async def aclose(self) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def get_extra_info(self, info: str) -> Any:
        return None

    @property
    def _read_bytes(self) -> int:
        """Little at first: a server has to send content before much of what it sends is parsed in one go."""
        return min(SMALL_READ_BYTES + self._content_bytes // 4, READ_BYTES)

    async def _receive(self, max_bytes: int) -> bytes:
        if self._wire_bytes - self._content_bytes > self._content_bytes + MAX_WRAPPING_BYTES:
            raise AnswerTooLong(f"{MAX_WRAPPING_BYTES} bytes more around the content than there are in it")
        received = await self._meter.waiting(asyncio.get_running_loop().sock_recv(self._socket, max_bytes))
        self._wire_bytes += len(received)
        return received

    async def _send(self, content: bytes) -> None:
        await self._meter.waiting(asyncio.get_running_loop().sock_sendall(self._socket, content))

    async def _through(self, tls: "_Tls", step: Callable[..., T], *arguments: Any) -> T:
        """Take a step of TLS, with what it has to send and to receive for that."""
        while True:
            try:
                done = step(*arguments)
            except ssl.SSLWantReadError:
                pass
            else:
                await self._flush(tls)
                return done
            await self._flush(tls)
            await self._meter.settle(READ_PRICE_SECONDS)
            if received := await self._receive(self._read_bytes):
                tls.incoming.write(received)
            else:
                tls.incoming.write_eof()

    async def _flush(self, tls: "_Tls") -> None:
        if tls.outgoing.pending:
            await self._send(tls.outgoing.read())


class _Tls:
    """The client's side of TLS, in memory."""

    def __init__(self, context: ssl.SSLContext, name: str) -> None:
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.talk = context.wrap_bio(self.incoming, self.outgoing, server_hostname=name)

    def read(self, max_bytes: int) -> bytes:
        """Nothing at the end, also where the server closes without saying so in TLS: HTTP knows if it is complete."""
        with suppress(ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return self.talk.read(max_bytes)
        return b""


@contextmanager
def _errors(timed_out: type[Exception], failed: type[Exception]) -> Iterator[None]:
    try:
        yield
    except TimeoutError as error:
        raise timed_out(str(error)) from error
    except OSError as error:  # errors of TLS are such too
        raise failed(str(error)) from error
