"""One TCP connection, with or without TLS, to a server that a client's URL names.

A server may send for ever without sending any content: interim answers, messages of TLS, chunks of one byte. A parser
works on all the bytes that it gets without a pause. So this module limits how much it reads from the socket, and pays
for the work (see `pacing`) before it reads more. HTTP belongs to `exchange`.
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

MAX_WRAPPING_BYTES = 256 * 1024  # of TLS, heads, chunk sizes and trailers, beyond the number of bytes of content
SMALL_READ_BYTES = 4 * 1024
READ_BYTES = 64 * 1024
READ_PRICE_SECONDS = 0.0001  # the work of the event loop for a read, which the meter cannot see

T = TypeVar("T")


class AnswerTooLong(httpx.RemoteProtocolError):
    """A server sent too many bytes or headers besides the content."""


class Wire:
    """A connected socket. Its methods raise httpx.TransportError. `seconds` is None for no limit."""

    def __init__(self, connected: socket.socket, meter: Meter) -> None:
        self._socket = connected
        self._meter = meter
        self._tls: _Tls | None = None
        self._wire_bytes = self._content_bytes = 0

    @classmethod
    async def connect(
        cls, address: IPv4Address | IPv6Address, port: int, budget: Budget, seconds: float | None
    ) -> "Wire":
        """Connect within `seconds`. Raises httpx.ConnectTimeout or httpx.ConnectError."""
        family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
        connected = socket.socket(family, socket.SOCK_STREAM)
        try:
            connected.setblocking(False)
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with _translated_errors(httpx.ConnectTimeout, httpx.ConnectError):
                async with asyncio.timeout(seconds):
                    await asyncio.get_running_loop().sock_connect(connected, (str(address), port))
        except BaseException:
            connected.close()
            raise
        return cls(connected, Meter(budget))

    async def shake_hands(self, context: ssl.SSLContext, name: str, seconds: float | None) -> None:
        """Start TLS. Raises httpx.ConnectError unless the server's certificate is valid for `name`."""
        self._tls = _Tls(context, name)
        with _translated_errors(httpx.ConnectTimeout, httpx.ConnectError):
            async with asyncio.timeout(seconds):
                await self._through(self._tls, self._tls.talk.do_handshake)

    def count_content(self, count: int) -> None:
        """Record that `count` more bytes were content. The more content there is, the more other bytes are allowed."""
        self._content_bytes += count

    def stop_meter(self) -> None:
        """Call this before the reader of the content runs, because its work is not the connection's."""
        self._meter.stop()

    def start_meter(self) -> None:
        self._meter.start()

    async def read(self, seconds: float | None) -> bytes:
        """Returns at least one byte, or none at the end. `seconds` does not include the wait for the budget."""
        await self._meter.settle(READ_PRICE_SECONDS)
        with _translated_errors(httpx.ReadTimeout, httpx.ReadError):
            async with asyncio.timeout(seconds):
                if self._tls is None:
                    return await self._receive()
                return await self._through(self._tls, self._tls.read, self._read_bytes)

    async def write(self, content: bytes, seconds: float | None) -> None:
        with _translated_errors(httpx.WriteTimeout, httpx.WriteError):
            async with asyncio.timeout(seconds):
                if self._tls is None:
                    await self._send(content)
                else:
                    await self._through(self._tls, self._tls.talk.write, content)

    def close(self) -> None:
        self._socket.close()

    @property
    def _read_bytes(self) -> int:
        """How many bytes one read may bring.

        They are few at first, so that a server which sends no content never makes a parser work on many bytes.
        """
        return min(SMALL_READ_BYTES + self._content_bytes // 4, READ_BYTES)

    async def _receive(self) -> bytes:
        if self._wire_bytes - self._content_bytes > self._content_bytes + MAX_WRAPPING_BYTES:
            raise AnswerTooLong(f"too much besides its content: {MAX_WRAPPING_BYTES} bytes more than the content has")
        received = await self._meter.waiting(asyncio.get_running_loop().sock_recv(self._socket, self._read_bytes))
        self._wire_bytes += len(received)
        return received

    async def _send(self, content: bytes) -> None:
        await self._meter.waiting(asyncio.get_running_loop().sock_sendall(self._socket, content))

    async def _through(self, tls: "_Tls", step: Callable[..., T], *arguments: Any) -> T:
        """Repeat a step of TLS until it has sent and received what it needs. Returns what the step returns."""
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
    """The client's side of TLS. It works in memory: the wire moves its bytes to and from the socket."""

    def __init__(self, context: ssl.SSLContext, name: str) -> None:
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.talk = context.wrap_bio(self.incoming, self.outgoing, server_hostname=name)

    def read(self, max_bytes: int) -> bytes:
        """Returns decrypted bytes, or none at the end.

        A server may close without TLS's closing message, because HTTP has its own end.
        """
        with suppress(ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return self.talk.read(max_bytes)
        return b""


@contextmanager
def _translated_errors(timed_out: type[httpx.TransportError], failed: type[httpx.TransportError]) -> Iterator[None]:
    """Raises `timed_out` for a TimeoutError, and `failed` for another OSError."""
    try:
        yield
    except TimeoutError as error:
        raise timed_out(str(error)) from error
    except OSError as error:  # ssl.SSLError is one too
        raise failed(str(error)) from error
