"""One attempt over HTTP. The client is the network guard's: it judges the address of every connection."""

import asyncio
import ssl
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import httpx

from app.deliveries.receivers import target
from app.deliveries.schedule import Reply
from app.network.guard import NameNotFound, NetworkGuard, NetworkRefused, causes
from app.network.wire import AnswerTooLong

ATTEMPT_SECONDS = 15.0
MAX_READ_BYTES = 16 * 1024
MAX_STORED_BYTES = 2 * 1024
USER_AGENT = "callscribe-webhooks"


def open_client(guard: NetworkGuard, verify: ssl.SSLContext | None = None) -> httpx.AsyncClient:
    """A guarded client for attempts; what a receiver sets as a cookie is forgotten."""
    client = guard.client(timeout=httpx.Timeout(ATTEMPT_SECONDS), verify=verify)
    client.headers = httpx.Headers({"User-Agent": USER_AGENT, "Accept": "*/*", "Accept-Encoding": "identity"})
    return client


async def send(
    client: httpx.AsyncClient, method: str, url: str, headers: Mapping[str, str], body: bytes, seconds: float
) -> Reply:
    """Ask once, for so many seconds at most. The status line decides; of the body a little is read, for the log.

    `error` is `timeout`, `url_not_allowed`, `name_not_found`, `tls_failed`, `connection_failed`, `connection_lost` or
    `answer_too_long`.
    """
    started_at, started = datetime.now(UTC), time.monotonic()
    options: dict[str, Any] = {
        "content": body or None,
        "timeout": httpx.Timeout(seconds, connect=seconds / 3),
        "extensions": {"target": target(url)},
    }
    answer: httpx.Response | None = None
    error: str | None = None
    stored = ""
    try:
        async with (
            asyncio.timeout(seconds),
            client.stream(method, url, headers=headers, **options) as answer,
        ):
            stored = await _beginning(answer)
    except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as trouble:
        error = _word(trouble)
    client.cookies.clear()
    milliseconds = round((time.monotonic() - started) * 1000)
    if answer is None:
        return Reply(started_at, milliseconds, error=error)
    return Reply(started_at, milliseconds, answer.status_code, None, answer.headers.get("retry-after"), stored)


async def _beginning(answer: httpx.Response) -> str:
    """Of a body's first MAX_READ_BYTES, as they come over the line, what is kept; what breaks off is cut."""
    read = b""
    with suppress(httpx.HTTPError):
        async for chunk in answer.aiter_raw(MAX_STORED_BYTES):
            read += chunk
            if len(read) >= MAX_READ_BYTES:
                break
    return read[:MAX_STORED_BYTES].decode("utf-8", "replace").replace("\0", "\ufffd")


def _word(trouble: Exception) -> str:
    if isinstance(trouble, NetworkRefused):
        return "url_not_allowed"
    if isinstance(trouble, (TimeoutError, httpx.TimeoutException)):
        return "timeout"
    if isinstance(trouble, NameNotFound):
        return "name_not_found"
    if isinstance(trouble, AnswerTooLong):
        return "answer_too_long"
    if any(isinstance(cause, ssl.SSLError) for cause in causes(trouble)):
        return "tls_failed"
    return "connection_failed" if isinstance(trouble, httpx.ConnectError) else "connection_lost"
