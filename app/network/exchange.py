"""Sends one HTTP request to one address over a new connection, and reads the answer within limits.

It parses answers with httptools, which is written in C and which the HTTP server uses too. The parser that httpx would
use (h11) is written in Python. It needed 18 s of the event loop for a header of 60 kB, and it drops interim answers
without a limit. Which addresses are allowed is the guard's decision.
"""

import re
import ssl
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address
from urllib.parse import quote

import httptools
import httpx

from app.network.pacing import Budget
from app.network.wire import AnswerTooLong, Wire

DEFAULT_PORTS = {"http": 80, "https": 443}
MAX_HEAD_BYTES = 64 * 1024  # of everything before the content, interim answers included
MAX_FIELDS = 256  # headers, including those of interim answers and trailers
NOT_SENT = re.compile(r"%(?![0-9A-Fa-f]{2})|[^!#$%&'()*+,\-./0-9:;=?@A-Z\[\]_a-z~]")


def request_target(url: str) -> bytes:
    """Returns the path and query of a URL as they are sent. Only characters that HTTP cannot carry are percent-encoded.

    httpx would also resolve dot segments, and so call another path than the one that was checked, shown or signed.
    """
    host = re.split("[/?#]", url.partition("://")[2])[0]
    rest = url.partition("://")[2][len(host) :].partition("#")[0]
    sent = NOT_SENT.sub(lambda found: quote(found[0], safe=""), rest)
    return (sent if sent.startswith("/") else f"/{sent}").encode("ascii")


async def ask(
    request: httpx.Request, address: IPv4Address | IPv6Address, name: str, tls: ssl.SSLContext, budget: Budget
) -> httpx.Response:
    """Send a request to the host `name` at `address`, and read the answer up to its content.

    The request's extension `target` replaces the URL's path and query. The caller reads the content from the returned
    response and closes it, which closes the connection. Raises httpx.TransportError.
    """
    url, timeouts = request.url, request.extensions.get("timeout", {})
    wire = await Wire.connect(address, url.port or DEFAULT_PORTS[url.scheme], budget, timeouts.get("connect"))
    try:
        if url.scheme == "https":
            await wire.shake_hands(tls, name, timeouts.get("connect"))
        with suppress(httpx.WriteError):  # a server may answer and close before it has read the whole request
            await wire.write(_head(request), timeouts.get("write"))
            assert isinstance(request.stream, AsyncIterable)
            async for part in request.stream:
                await wire.write(part, timeouts.get("write"))
        answer = _Answer()
        await _read_head(wire, answer, timeouts.get("read"))
    except BaseException:
        wire.close()
        raise
    return httpx.Response(answer.status, headers=answer.headers, stream=_Content(wire, answer, timeouts.get("read")))


def _head(request: httpx.Request) -> bytes:
    """Returns the request line and the headers. A body needs a known length, because this sends no chunks."""
    target = request.extensions.get("target", request.url.raw_path)
    lines = [b"%b %b HTTP/1.1" % (request.method.encode("ascii"), target)]
    lines += [b"%b: %b" % header for header in request.headers.raw]
    if any(b"\r" in line or b"\n" in line for line in lines) or b" " in target:
        raise httpx.LocalProtocolError("a line break in a header, or a space in a target")
    return b"\r\n".join([*lines, b"", b""])


async def _read_head(wire: Wire, answer: "_Answer", seconds: float | None) -> None:
    head_bytes = 0
    while not answer.has_head:
        if head_bytes > MAX_HEAD_BYTES:
            raise AnswerTooLong(f"more than {MAX_HEAD_BYTES} bytes before the content")
        received = await wire.read(seconds)
        if not received:
            raise httpx.RemoteProtocolError("the server closed the connection without an answer")
        head_bytes += len(received)
        answer.feed(received)


class _Content(httpx.AsyncByteStream):
    """The content of an answer while it arrives. Each piece is what one read from the socket brought."""

    def __init__(self, wire: Wire, answer: "_Answer", seconds: float | None) -> None:
        self._wire = wire
        self._answer = answer
        self._seconds = seconds

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            if content := self._answer.take_content():
                self._wire.count_content(len(content))
                self._wire.stop_meter()
                yield content
                self._wire.start_meter()
            if self._answer.is_complete:
                return
            if received := await self._wire.read(self._seconds):
                self._answer.feed(received)
            else:
                self._answer.end()

    async def aclose(self) -> None:
        self._wire.close()


class _Answer:
    """Collects what the parser finds in an answer. Interim answers (status below 200) are dropped.

    The parser calls the methods that begin with `on_`.
    """

    def __init__(self) -> None:
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.has_head = self.is_complete = False
        self._fields = 0
        self._content: list[bytes] = []
        self._parser = httptools.HttpResponseParser(self)
        # Some servers need these. They are harmless, because the connection carries only one answer.
        self._parser.set_dangerous_leniencies(
            lenient_data_after_close=True,
            lenient_optional_cr_before_lf=True,
            lenient_spaces_after_chunk_size=True,
        )

    def feed(self, received: bytes) -> None:
        """Parse the next bytes from the server. Raises httpx.RemoteProtocolError if they are not HTTP."""
        try:
            self._parser.feed_data(received)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if not self.is_complete:  # bytes after the answer are ignored
                raise httpx.RemoteProtocolError(f"the answer is not HTTP: {type(error).__name__}") from error
        if self._fields > MAX_FIELDS and not self.is_complete:
            raise AnswerTooLong(f"more than {MAX_FIELDS} headers")

    def end(self) -> None:
        """Record that the server has closed the connection, which ends content of unannounced length.

        Raises httpx.RemoteProtocolError if a header announced more content.
        """
        names = {name.lower() for name, _ in self.headers}
        if names & {b"content-length", b"transfer-encoding"}:
            raise httpx.RemoteProtocolError("the server closed the connection before the end of the content")
        self.is_complete = True

    def take_content(self) -> bytes:
        content, self._content = self._content, []
        return b"".join(content)

    def on_message_begin(self) -> None:
        self._fields += 1

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields += 1
        if not self.has_head and self._fields <= MAX_FIELDS:
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        if self.has_head:
            return
        self.status = self._parser.get_status_code()
        self.has_head = self.status >= 200
        if not self.has_head:
            self.headers = []

    def on_body(self, content: bytes) -> None:
        if not self.is_complete:
            self._content.append(content)

    def on_message_complete(self) -> None:
        self.is_complete = self.has_head
