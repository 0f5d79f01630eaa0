"""Requests to a server that the operator has named, such as that of a language model.

The network guard for clients' URLs does not check it. No environment proxy is used and no redirect is followed, because
both would carry what was said to a server that the operator did not name. No cookie is kept, because it could bind all
requests to one of several servers, which may be broken.
"""

from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any

import httpx

from app.network.guard import CarefulClient, trusted_authorities

CONNECT_SECONDS = 10.0
KEEP_ALIVE_SECONDS = 3.0  # less than the 5 s after which many servers close a connection
BUSY_STATUSES = frozenset({408, 425, 429})


class AnswerTooLarge(Exception):
    """The server sent more than it should."""


def open_client(timeout_seconds: float, connections: int) -> httpx.AsyncClient:
    """A client with connections of its own. The caller closes it."""
    return CarefulClient(
        timeout=httpx.Timeout(timeout_seconds, connect=CONNECT_SECONDS),
        limits=httpx.Limits(
            max_connections=connections, max_keepalive_connections=connections, keepalive_expiry=KEEP_ALIVE_SECONDS
        ),
        follow_redirects=False,
        trust_env=False,
        verify=trusted_authorities(),
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
    )


async def post(
    client: httpx.AsyncClient,
    url: str,
    key: str | None,
    most_bytes: int,
    headers: dict[str, str] | None = None,
    **content: Any,
) -> tuple[int, httpx.Headers, bytes]:
    """Posts `content`, as httpx takes it. Returns the status, the headers and the answer.

    The answer is not unpacked, because a small packed one may hold more than fits into memory. Raises AnswerTooLarge,
    httpx.HTTPError and httpx.InvalidURL.
    """
    sent = {"Accept-Encoding": "identity"} | (headers or {})
    if key is not None:
        sent["Authorization"] = f"Bearer {key}"
    async with client.stream("POST", url, headers=sent, **content) as response:
        answer = bytearray()
        async for part in response.aiter_raw():
            answer += part
            if len(answer) > most_bytes:
                raise AnswerTooLarge
    return response.status_code, response.headers, bytes(answer)
