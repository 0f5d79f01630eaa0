"""Checks each request's `Host` header, and adds two headers to answers.

`X-Content-Type-Options` keeps browsers from guessing another media type. `Cache-Control: no-store` keeps proxies and
browsers from storing answers that need a key.
"""

import re

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.problems import render
from app.api.server.request_limits import GUARDED_PATHS
from app.errors import BadRequest

# RFC 3986, 3.2.2: an address in brackets, or a name; then a port.
HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+,;=%-]*)(:\d{0,5})?")


ANSWERS = frozenset({"http.response.start", "websocket.http.response.start"})


class HeadersMiddleware:
    """An ASGI middleware that adds headers to answers.

    It answers `bad_request` if the request's `Host` is missing, malformed or repeated.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] in ANSWERS:
                headers = MutableHeaders(scope=message)
                headers.setdefault("X-Content-Type-Options", "nosniff")
                if scope["path"].startswith(GUARDED_PATHS):
                    headers.setdefault("Cache-Control", "no-store")
            await send(message)

        if _has_valid_host(scope):
            await self.app(scope, receive, send_with_headers)
        else:
            error = BadRequest("Send exactly one `Host` header, with a host name or an address, and optionally a port.")
            await render(HTTPConnection(scope), error)(scope, receive, send_with_headers)


def _has_valid_host(scope: Scope) -> bool:
    hosts = Headers(scope=scope).getlist("host")
    if not hosts:
        return bool(scope["http_version"] == "1.0")
    return len(hosts) == 1 and HOST.fullmatch(hosts[0]) is not None
