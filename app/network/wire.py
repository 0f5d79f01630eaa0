"""One connection to a server that a client named. It reads only what is asked for, counts it, and paces it.

A server may send for ever without sending anything: interim answers, messages of TLS, chunks of one byte. Whatever
parses them does so without a pause. So what is read is limited at the socket, and paid for before more is read.
Judging addresses is the guard's business.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from ipaddress import IPv4Address, IPv6Address
from typing import Any, TypeVar

import httpx

from app.network.pacing import Budget, Meter

MAX_WRAPPING_BYTES = 256 * 1024  # TLS, heads, chunk sizes, trailers: so much more than the content, and no more
SMALL_READ_BYTES = 4 * 1024
READ_BYTES = 64 * 1024
READ_PRICE_SECONDS = 0.0001  # what a read costs the event loop, beside what is done with it here

T = TypeVar("T")


class AnswerTooLong(httpx.RemoteProtocolError):
    """A server sent more around an answer than it may."""


class Wire:
    """A connected socket, with TLS or without. Raises httpx.TransportError."""

    def __init__(self, connected: socket.socket, meter: Meter) -> None:
        self._socket = connected
        self._meter = meter
        self._tls: _Tls | None = None
        self._wire_bytes = self._content_bytes = 0

    @classmethod
    async def connect(
        cls, address: IPv4Address | IPv6Address, port: int, budget: Budget, seconds: float | None
    ) -> "Wire":
        family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
        connected = socket.socket(family, socket.SOCK_STREAM)
        try:
            connected.setblocking(False)
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with _errors(httpx.ConnectTimeout, httpx.ConnectError):
                async with asyncio.timeout(seconds):
                    await asyncio.get_running_loop().sock_connect(connected, (str(address), port))
        except BaseException:
            connected.close()
            raise
        return cls(connected, Meter(budget))

    async def shake_hands(self, context: ssl.SSLContext, name: str, seconds: float | None) -> None:
        """Begin TLS with a server that proves to be `name`."""
        self._tls = _Tls(context, name)
        with _errors(httpx.ConnectTimeout, httpx.ConnectError):
            async with asyncio.timeout(seconds):
                await self._through(self._tls, self._tls.talk.do_handshake)

    def count_content(self, count: int) -> None:
        """Count bytes of the answer's own content, which the limits of what is around it grow with."""
        self._content_bytes += count

    def leave(self) -> None:
        """The reader of the content goes about its own work, which is not the server's to pay for."""
        self._meter.stop()

    def come_back(self) -> None:
        self._meter.start()

    async def read(self, seconds: float | None) -> bytes:
        """What has come, at least a byte; nothing at the end. The time that is waited for payment does not count."""
        await self._meter.settle(READ_PRICE_SECONDS)
        with _errors(httpx.ReadTimeout, httpx.ReadError):
            async with asyncio.timeout(seconds):
                if self._tls is None:
                    return await self._receive()
                return await self._through(self._tls, self._tls.read, self._read_bytes)

    async def write(self, content: bytes, seconds: float | None) -> None:
        with _errors(httpx.WriteTimeout, httpx.WriteError):
            async with asyncio.timeout(seconds):
                if self._tls is None:
                    await self._send(content)
                else:
                    await self._through(self._tls, self._tls.talk.write, content)

    def close(self) -> None:
        self._socket.close()

    @property
    def _read_bytes(self) -> int:
        """Little at first: a server has to send content before much of what it sends is parsed in one go."""
        return min(SMALL_READ_BYTES + self._content_bytes // 4, READ_BYTES)

    async def _receive(self) -> bytes:
        if self._wire_bytes - self._content_bytes > self._content_bytes + MAX_WRAPPING_BYTES:
            raise AnswerTooLong(f"{MAX_WRAPPING_BYTES} bytes more around the content than there are in it")
        received = await self._meter.waiting(asyncio.get_running_loop().sock_recv(self._socket, self._read_bytes))
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
            if received := await self._receive():
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
def _errors(timed_out: type[httpx.TransportError], failed: type[httpx.TransportError]) -> Iterator[None]:
    try:
        yield
    except TimeoutError as error:
        raise timed_out(str(error)) from error
    except OSError as error:  # errors of TLS are such too
        raise failed(str(error)) from error
