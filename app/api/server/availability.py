"""Refuses requests while the service is starting, and requests that waited too long for a place."""

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.dependencies import service_if_open
from app.api.problems import render
from app.api.server.request_limits import OVERLOADED
from app.errors import Unavailable

PROBES = ("/healthz", "/readyz")


class AvailabilityMiddleware:
    """An ASGI middleware that answers `unavailable` to a request that waited too long for a place.

    Until the service is open, it gives this answer to every request except probes. A live call gets it
    instead of its WebSocket.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["state"].get(OVERLOADED):
            await _refuse("Too many requests are under way.", scope, receive, send)
        elif service_if_open(scope["app"]) is not None or scope["path"] in PROBES:
            await self.app(scope, receive, send)
        else:
            await _refuse("The service is starting.", scope, receive, send)


async def _refuse(reason: str, scope: Scope, receive: Receive, send: Send) -> None:
    error = Unavailable(reason, retry_after=5)
    await render(HTTPConnection(scope), error)(scope, receive, send)
