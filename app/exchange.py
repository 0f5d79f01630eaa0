"""One request to one address over a connection of its own, within the limits of the wire.

It uses the public parts of the HTTP library below httpx, which takes our own stream in the place of a socket.
"""

import ssl
from collections.abc import AsyncIterable, AsyncIterator, Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv6Address

import httpcore
import httpx

from app.pacing import Budget
from app.wire import MAX_HEAD_BYTES, Wire

PORTS = {"http": 80, "https": 443}
EVENT_PRICE_SECONDS = 0.00005  # what a chunk costs its reader, who gets each by itself


class _Connection(httpcore.AsyncHTTP11Connection):
    MAX_INCOMPLETE_EVENT_SIZE = MAX_HEAD_BYTES  # of one head, one chunk's size, all trailers


async def ask(
    request: httpx.Request, address: IPv4Address | IPv6Address, name: str, tls: ssl.SSLContext, budget: Budget
) -> httpx.Response:
    """Send a request to the host `name` at `address`. The connection ends with the response.

    The extension `target` replaces the URL's path and query. Raises httpx.TransportError.
    """
    url, seconds = request.url, request.extensions.get("timeout", {}).get("connect")
    port = url.port or PORTS[url.scheme]
    with _errors_of_httpx():
        wire = await Wire.connect(address, port, budget, seconds)
        try:
            if url.scheme == "https":
                await wire.shake_hands(tls, name, seconds)
            origin = httpcore.Origin(url.raw_scheme, url.raw_host, port)
            answer = await _Connection(origin, wire).handle_async_request(_to_send(request, port))
        except BaseException:
            wire.close()
            raise
    wire.head_is_over()
    assert isinstance(answer.stream, AsyncIterable)
    return httpx.Response(
        answer.status, headers=answer.headers, stream=_Body(answer.stream, wire), extensions=answer.extensions
    )


class _Body(httpx.AsyncByteStream):
    """An answer's body as it comes; it closes the connection."""

    def __init__(self, chunks: AsyncIterable[bytes], wire: Wire) -> None:
        self._chunks = chunks
        self._wire = wire

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _errors_of_httpx():
            async for chunk in self._chunks:
                await self._wire.content(len(chunk), EVENT_PRICE_SECONDS)
                self._wire.leave()
                yield chunk
                self._wire.come_back()

    async def aclose(self) -> None:
        self._wire.close()  # without it a complete answer would leave the connection open, to be used again


def _to_send(request: httpx.Request, port: int) -> httpcore.Request:
    url = httpcore.URL(scheme=request.url.raw_scheme, host=request.url.raw_host, port=port, target=request.url.raw_path)
    assert isinstance(request.stream, AsyncIterable)
    return httpcore.Request(
        request.method, url, headers=request.headers.raw, content=request.stream, extensions=request.extensions
    )


@contextmanager
def _errors_of_httpx() -> Iterator[None]:
    """Raise httpx's error of the same name for the library's below it."""
    try:
        yield
    except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError) as error:
        raised: type[httpx.TransportError] = getattr(httpx, type(error).__name__)
        raise raised(str(error)) from error
