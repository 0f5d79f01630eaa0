"""The channels over HTTP: a webhook is a signed POST with the event, a callback is a plain GET of a URL.

Each attempt is one request through the network guard's client, which checks the address of every connection. The
answer, or the error if there is none, becomes a Reply.
"""

import asyncio
import ssl
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from app import tracing
from app.deliveries import signing
from app.deliveries.channels import ATTEMPT_SECONDS, Channels, Outgoing, Reply, Result, Stopwatch
from app.deliveries.models import Style
from app.errors import UrlNotAllowed
from app.network.exchange import request_target
from app.network.guard import NameNotFound, NetworkGuard, NetworkRefused, causes
from app.network.retry_after import asked_pause
from app.network.wire import AnswerTooLong

MAX_READ_BYTES = 16 * 1024
MAX_STORED_BYTES = 2 * 1024
USER_AGENT = "callscribe-webhooks"


def open_client(guard: NetworkGuard, verify: ssl.SSLContext | None = None) -> httpx.AsyncClient:
    """Returns the client for all attempts. The caller closes it. `verify` None trusts what the guard trusts."""
    client = guard.client(timeout=httpx.Timeout(ATTEMPT_SECONDS), verify=verify)
    client.headers = httpx.Headers({"User-Agent": USER_AGENT, "Accept": "*/*", "Accept-Encoding": "identity"})
    return client


def http_channels(client: httpx.AsyncClient, attempt_seconds: float = ATTEMPT_SECONDS) -> Channels:
    """Returns the channels of webhooks and of callbacks. They share the client."""
    return {
        Style.WEBHOOK: WebhookChannel(client, attempt_seconds),
        Style.CALLBACK: CallbackChannel(client, attempt_seconds),
    }


class _HttpChannel:
    def __init__(self, client: httpx.AsyncClient, attempt_seconds: float = ATTEMPT_SECONDS) -> None:
        self._client = client
        self._seconds = attempt_seconds

    async def _request(
        self, method: str, delivery: Outgoing, headers: Mapping[str, str], body: bytes | None = None
    ) -> Reply:
        """Make one request. The answer's status decides the result, and the beginning of its body is only for the log.

        The error of the reply is `timeout`, `url_not_allowed`, `name_not_found`, `tls_failed`, `connection_failed`,
        `connection_lost` or `answer_too_long`.
        """
        attempt = Stopwatch()
        options: dict[str, Any] = {
            "content": body,
            "timeout": httpx.Timeout(self._seconds, connect=self._seconds / 3),
            "extensions": {"target": request_target(delivery.url)},
        }
        answer: httpx.Response | None = None
        error: str | None = None
        beginning = ""
        try:
            async with (
                asyncio.timeout(self._seconds),
                self._client.stream(method, delivery.url, headers=headers, **options) as answer,
            ):
                beginning = await _beginning(answer)
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as trouble:
            error = _error_word(trouble)
        self._client.cookies.clear()  # so that no receiver's cookies are sent to the next one
        if answer is None:
            return attempt.reply(error=error)
        result, wait = judge(answer, delivery.now())
        return attempt.reply(result, status_code=answer.status_code, retry_after=wait, response=beginning)


class WebhookChannel(_HttpChannel):
    async def send(self, delivery: Outgoing) -> Reply:
        signed = signing.headers(delivery.signing_secrets, str(delivery.event_id), delivery.now(), delivery.body)
        headers = {"Content-Type": "application/json", **signed, **tracing.headers()}
        return await self._request("POST", delivery, headers, delivery.body)


class CallbackChannel(_HttpChannel):
    async def send(self, delivery: Outgoing) -> Reply:
        """Call the URL, unless it still has placeholders.

        Only jobs of earlier versions can have such a URL. Their values would have changed its path.
        """
        if "{" in delivery.url:
            return Reply(datetime.now(UTC), 0, error=UrlNotAllowed.code)
        return await self._request("GET", delivery, {"webhook-id": str(delivery.event_id), **tracing.headers()})


def judge(answer: httpx.Response, now: datetime) -> tuple[Result, timedelta]:
    """Returns the result of an answer, and for how long the receiver asks us to wait.

    A 2xx status is a success and 410 is a refusal. After any other status the delivery is tried again.
    """
    if answer.is_success:
        return Result.DELIVERED, timedelta(0)
    if answer.status_code == httpx.codes.GONE:
        return Result.REFUSED, timedelta(0)
    return Result.TRY_AGAIN, asked_pause(answer.headers, now)


async def _beginning(answer: httpx.Response) -> str:
    """Read up to MAX_READ_BYTES of the body, so that a short answer is read to its end. Returns MAX_STORED_BYTES of it.

    If the connection breaks, the part that arrived is returned.
    """
    read = b""
    with suppress(httpx.HTTPError):
        async for chunk in answer.aiter_raw(MAX_STORED_BYTES):
            read += chunk
            if len(read) >= MAX_READ_BYTES:
                break
    return read[:MAX_STORED_BYTES].decode("utf-8", "replace").replace("\0", "\ufffd")


def _error_word(trouble: Exception) -> str:
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
