"""One request to one address over a connection of its own, and its answer within limits.

The parser is the one that the HTTP server uses, written in C. The one below httpx parses in Python: of it, a header of
60 kB can take 18 s of the event loop, and endless interim answers are dropped without an end.
"""

import ssl
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address

import httptools
import httpx

from app.network.pacing import Budget
from app.network.wire import AnswerTooLong, Wire

DEFAULT_PORTS = {"http": 80, "https": 443}
MAX_HEAD_BYTES = 64 * 1024  # of everything before the content: interim answers, and the answer's own head
MAX_FIELDS = 256  # headers, those of interim answers and of trailers too


async def ask(
    request: httpx.Request, address: IPv4Address | IPv6Address, name: str, tls: ssl.SSLContext, budget: Budget
) -> httpx.Response:
    """Send a request to the host `name` at `address`. The connection ends with the response.

    The request's extension `target` replaces the URL's path and query. Raises httpx.TransportError.
    """
    url, timeouts = request.url, request.extensions.get("timeout", {})
    wire = await Wire.connect(address, url.port or DEFAULT_PORTS[url.scheme], budget, timeouts.get("connect"))
    try:
        if url.scheme == "https":
            await wire.shake_hands(tls, name, timeouts.get("connect"))
        with suppress(httpx.WriteError):  # a server may answer, and close, before it has read everything
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
    """The request's head. Its body, if there is one, has a known length."""
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
    """An answer's content as it comes: what one read brings is one piece, however many chunks it has."""

    def __init__(self, wire: Wire, answer: "_Answer", seconds: float | None) -> None:
        self._wire = wire
        self._answer = answer
        self._seconds = seconds

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            if content := self._answer.take_content():
                self._wire.count_content(len(content))
                self._wire.leave()
                yield content
                self._wire.come_back()
            if self._answer.is_complete:
                return
            if received := await self._wire.read(self._seconds):
                self._answer.feed(received)
            else:
                self._answer.end()

    async def aclose(self) -> None:
        self._wire.close()


class _Answer:
    """What the parser finds: the last head, which is the answer's, and its content."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.has_head = self.is_complete = False
        self._fields = 0
        self._content: list[bytes] = []
        self._parser = httptools.HttpResponseParser(self)
        # Harmless where nothing follows on the connection, and servers do it.
        self._parser.set_dangerous_leniencies(
            lenient_data_after_close=True,
            lenient_optional_cr_before_lf=True,
            lenient_spaces_after_chunk_size=True,
        )

    def feed(self, received: bytes) -> None:
        """Raises httpx.RemoteProtocolError."""
        try:
            self._parser.feed_data(received)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if not self.is_complete:  # what comes after the answer is of no interest
                raise httpx.RemoteProtocolError(f"the answer is not HTTP: {type(error).__name__}") from error
        if self._fields > MAX_FIELDS and not self.is_complete:
            raise AnswerTooLong(f"more than {MAX_FIELDS} headers")

    def end(self) -> None:
        """The server has closed the connection, which may be how the content ends."""
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
