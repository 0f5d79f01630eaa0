"""ASGI middleware: refuses requests whose `Host` is missing, malformed or repeated, and adds headers to answers.

It exists so that proxies and browsers keep no answer that needs a key, and so that browsers do not guess another media
type. It must not know routes.
"""

import re

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.problems import render
from app.errors import BadRequest

# RFC 3986, 3.2.2: an address in brackets, or a name; then a port.
HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+,;=%-]*)(:\d{0,5})?")
GUARDED_PATHS = "/v1/"


class Heads:
    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.setdefault("X-Content-Type-Options", "nosniff")
                if scope["path"].startswith(GUARDED_PATHS):
                    headers.setdefault("Cache-Control", "no-store")
            await send(message)

        if _has_a_proper_host(scope):
            await self.app(scope, receive, send_with_headers)
        else:
            error = BadRequest("Send the header `Host` once: a name or an address, and a port.")
            await render(Request(scope), error)(scope, receive, send_with_headers)


def _has_a_proper_host(scope: Scope) -> bool:
    hosts = Headers(scope=scope).getlist("host")
    if not hosts:
        return bool(scope["http_version"] == "1.0")
    return len(hosts) == 1 and HOST.fullmatch(hosts[0]) is not None
