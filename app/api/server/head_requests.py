"""Answers HEAD wherever GET is answered, so that no route has to declare it (RFC 9110, section 9.3.2)."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class HeadMiddleware:
    """An ASGI middleware that answers HEAD as GET would be answered, but without the body.

    The answer ends after its headers, so that a route which streams a recording stops reading it. A `Range` is ignored,
    because it has a meaning for GET only (RFC 9110, section 14.2).
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self.app(scope, receive, send)
            return

        async def send_headers_only(message: Message) -> None:
            if message["type"] == "http.response.start":
                await send(message)
                await send({"type": "http.response.body"})

        headers = [header for header in scope["headers"] if header[0] != b"range"]
        as_get = {**scope, "method": "GET", "headers": headers}
        try:
            await self.app(as_get, receive, send_headers_only)
        finally:
            scope["route"] = as_get.get("route")  # for the metrics
