"""Lets pages of chosen other sites use the API from a browser (CORS, https://fetch.spec.whatwg.org/#http-cors-protocol).

The key is in the page's own requests. The service knows no cookies, so it never allows credentials that a browser adds.
"""

import re
from collections.abc import Sequence

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

ANY = "*"
METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE"
READABLE = ", ".join(
    """
    Accept-Ranges Allow Content-Disposition Content-Range ETag Location RateLimit RateLimit-Policy Retry-After
    WWW-Authenticate X-Callscribe-Id X-Request-ID
    """.split()
)
NAMES = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~, -]{1,4096}")
KEPT_SECONDS = 3600


class CrossOriginMiddleware:
    """An ASGI middleware that answers the preflights of browsers, and marks answers as readable for pages.

    Each of `origins` is exact, such as `https://crm.example`, or it is `*`. Browsers send preflights without a key, so
    these need none. They are answered for every path. Without `origins`, the middleware does nothing.
    """

    def __init__(self, app: ASGIApp, origins: Sequence[str]) -> None:
        self.app = app
        self._origins = frozenset(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not self._origins:
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        allowed = self._allowed(headers.getlist("origin"))

        async def send_readable(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._mark(MutableHeaders(scope=message), allowed)
            await send(message)

        if allowed and scope["method"] == "OPTIONS" and "access-control-request-method" in headers:
            await Response(status_code=204, headers=_preflight(headers))(scope, receive, send_readable)
        else:
            await self.app(scope, receive, send_readable)

    def _allowed(self, sent: Sequence[str]) -> str | None:
        """Returns the value of the header that allows the origin of the request, or None if it is not allowed."""
        if not sent or len(sent) > 1:
            return None
        return ANY if ANY in self._origins else sent[0] if sent[0] in self._origins else None

    def _mark(self, headers: MutableHeaders, allowed: str | None) -> None:
        if ANY not in self._origins:
            headers.add_vary_header("Origin")
        if allowed:
            headers["Access-Control-Allow-Origin"] = allowed
            headers["Access-Control-Expose-Headers"] = READABLE


def _preflight(headers: Headers) -> dict[str, str]:
    """Allows each header that the page asks for, because clients of OpenAI's API send many of their own."""
    wanted = ", ".join(headers.getlist("access-control-request-headers"))
    return {
        "Access-Control-Allow-Methods": METHODS,
        "Access-Control-Max-Age": str(KEPT_SECONDS),
        **({"Access-Control-Allow-Headers": wanted} if NAMES.fullmatch(wanted) else {}),
    }
