"""Reads recordings from `https://` URLs, and from `http://` URLs in networks that the operator allows.

If a connection breaks, it fetches the missing part, provided that the server proves with an ETag that the recording is
still the same. The network guard checks every connection. Error texts never contain words of the server, because it
could write anything into them.
"""

import asyncio
import re
import ssl
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import httpx

from app import __version__
from app.errors import FetchFailed
from app.network.exchange import request_target
from app.network.guard import NameNotFound, NetworkGuard, NetworkRefused, causes
from app.network.wire import AnswerTooLong
from app.sources.content import Content, RequireSpace
from app.sources.refusals import refusal

CONNECT_SECONDS = 10.0
SILENCE_SECONDS = 20.0  # the longest silence before the answer, or within it
MAX_REDIRECTS = 3
MAX_RESUMES = 3
RESUME_PAUSE_SECONDS = 0.5
REASON_SECONDS = 2.0
REASON_BYTES = 4 * 1024  # of an answer that is no recording are looked at
HEADERS = {"User-Agent": f"callscribe/{__version__}", "Accept": "*/*", "Accept-Encoding": "identity"}
STRONG_ETAG = re.compile(r'"[\x21\x23-\x7e]*"')
BROKEN = "The connection broke before the recording was complete"


@dataclass
class _Arrived:
    """How many bytes of a recording have arrived, and the strong ETag of its version if the server sent one."""

    bytes: int = 0
    etag: str | None = None

    def headers(self) -> dict[str, str]:
        """Returns headers that ask for the missing part, or for the whole recording if nothing has arrived."""
        if not self.bytes or self.etag is None:
            return HEADERS
        return {**HEADERS, "Range": f"bytes={self.bytes}-", "If-Range": self.etag}


class WebSource:
    """Reads recordings over HTTP. If `verify` is None, it trusts the certificate authorities that the guard trusts."""

    def __init__(
        self, guard: NetworkGuard, *, verify: ssl.SSLContext | None = None, silence_seconds: float = SILENCE_SECONDS
    ) -> None:
        self._guard = guard
        self._verify = verify
        self._timeout = httpx.Timeout(silence_seconds, connect=CONNECT_SECONDS)

    def require_allowed(self, url: str) -> None:
        """Raises UrlNotAllowed if the guard can refuse the URL without a look-up."""
        self._guard.require_allowed(url)

    async def read(
        self, url: str, max_bytes: int, require_space: RequireSpace, content: Content
    ) -> AsyncGenerator[bytes, None]:
        """Yields the content as it arrives. Resumes after a broken connection if the server sent a strong ETag.

        Without one, nothing proves that the missing part belongs to the same recording. Then this raises FetchFailed.
        """
        arrived = _Arrived()
        async with self._guard.client(timeout=self._timeout, verify=self._verify) as client:
            for resumes_left in range(MAX_RESUMES, -1, -1):
                try:
                    async with _answer(client, url, arrived) as response:
                        await _require_content(response, arrived)
                        await require_space(_announced(response, arrived, max_bytes))
                        _describe(content, response)
                        async for chunk in response.aiter_raw():
                            arrived.bytes += len(chunk)
                            if arrived.bytes > max_bytes:  # the store counts only what is unpacked
                                raise FetchFailed(f"The recording is larger than {max_bytes} bytes.")
                            yield chunk
                        return
                except httpx.TransportError as error:
                    if not (resumes_left and arrived.bytes and arrived.etag):
                        raise _failure(error) from None
                await asyncio.sleep(RESUME_PAUSE_SECONDS)


@asynccontextmanager
async def _answer(client: httpx.AsyncClient, url: str, arrived: _Arrived) -> AsyncIterator[httpx.Response]:
    """Request the URL, or the missing part of it, and follow at most MAX_REDIRECTS redirects. The guard checks each.

    The answer is closed at the end of the block. Raises FetchFailed for more redirects, or for one from https to http.
    """
    target = {"target": request_target(url)}  # unchanged, because a signature may cover it byte for byte
    request: httpx.Request | None = client.build_request("GET", url, headers=arrived.headers(), extensions=target)
    for _ in range(1 + MAX_REDIRECTS):
        assert request is not None
        response = await client.send(request, stream=True)
        try:
            if not response.has_redirect_location:
                yield response
                return
        finally:
            await response.aclose()
        before, request = request, response.next_request
        if request is not None:
            request.extensions = {name: each for name, each in request.extensions.items() if name != "target"}
            if (before.url.scheme, request.url.scheme) == ("https", "http"):
                raise FetchFailed("The server redirects from https to http.")
    raise FetchFailed(f"The server redirects more than {MAX_REDIRECTS} times.")


async def _require_content(response: httpx.Response, arrived: _Arrived) -> None:
    """Raises FetchFailed unless the answer's content is that of the URL, or the missing part of it."""
    status, headers = response.status_code, response.headers
    if arrived.bytes and status == 200:
        raise FetchFailed(f"{BROKEN}, and the server does not send the rest by itself.", transient=True)
    if status != (206 if arrived.bytes else 200):
        raise refusal(status, await _beginning(response))
    if headers.get("Transfer-Encoding", "chunked").lower() not in ("chunked", "identity"):
        raise FetchFailed("The server sent the recording in a transfer encoding that the request did not allow.")
    if arrived.bytes and not headers.get("Content-Range", "").startswith(f"bytes {arrived.bytes}-"):
        raise FetchFailed(f"{BROKEN}, and the server sent another part than the rest.", transient=True)


async def _beginning(response: httpx.Response) -> bytes:
    """The beginning of a body that is no recording. Empty if it does not arrive."""
    beginning = b""
    with suppress(httpx.TransportError, TimeoutError):
        async with asyncio.timeout(REASON_SECONDS):
            async for chunk in response.aiter_raw():
                beginning += chunk
                if len(beginning) >= REASON_BYTES:
                    break
    return beginning[:REASON_BYTES]


def _announced(response: httpx.Response, arrived: _Arrived, max_bytes: int) -> int:
    """Returns the number of bytes that the answer announces, or 0 if it announces none.

    Raises FetchFailed if they are too many, or belong to another version than the part that has arrived.
    """
    headers = response.headers
    length = headers.get("Content-Length", "")
    announced = int(length) if length.isdecimal() else 0
    if arrived.bytes + announced > max_bytes:
        raise FetchFailed(f"The recording is larger than {max_bytes} bytes.")
    etag = headers.get("ETag", "")
    if arrived.bytes and etag and etag != arrived.etag:
        raise FetchFailed(f"{BROKEN}, and changed meanwhile.", transient=True)
    if STRONG_ETAG.fullmatch(etag):
        arrived.etag = etag
    return announced


def _describe(content: Content, response: httpx.Response) -> None:
    content.media_type = response.headers.get("Content-Type", "")
    content.encoding = response.headers.get("Content-Encoding", "")
    raw = (value for name, value in response.headers.raw if name.lower() == b"content-disposition")
    content.disposition = next(raw, b"")


def _failure(error: httpx.TransportError) -> FetchFailed:
    """Translate an error of the connection into an error that clients see."""
    found = list(causes(error))
    if isinstance(error, NetworkRefused):
        return FetchFailed(f"The URL is not allowed: {error}.")
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in found):
        return FetchFailed("The server's certificate is not valid for this host.")
    if any(isinstance(cause, ConnectionRefusedError) for cause in found):
        return FetchFailed("The server refused the connection.", transient=True)
    match error:
        case NameNotFound():
            reason = "The host name was not found."
        case httpx.ConnectTimeout():
            reason = f"The server did not accept a connection within {CONNECT_SECONDS:g} s."
        case httpx.TimeoutException():
            reason = "The server stopped answering."
        case httpx.ConnectError():
            reason = "The server could not be reached."
        case AnswerTooLong():
            reason = f"The server sent {error}."
        case httpx.RemoteProtocolError():
            reason = "The server's answer was cut off, or is not HTTP."
        case _:
            reason = f"{BROKEN}."
    return FetchFailed(reason, transient=True)
