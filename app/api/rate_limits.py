"""Counts the requests of keys that have a limit, before routes see them, and says in each answer what is left.

The headers are `RateLimit-Policy` and `RateLimit` of draft-ietf-httpapi-ratelimit-headers-11.
"""

from collections.abc import Iterable

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.access import rates
from app.access.rates import MINUTE_SECONDS, Counted, Minute
from app.api.auth import identify
from app.api.dependencies import service_if_open
from app.api.problems import render
from app.api.server.request_limits import GUARDED_PATHS
from app.errors import AppError, RateLimited


class RateLimitMiddleware:
    """An ASGI middleware that refuses a request if its key, or all keys of its tenant, have sent too many in a minute.

    All requests that need a key count. A request without a valid key goes on to its route, which refuses it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        service = service_if_open(scope["app"]) if scope["type"] == "http" else None
        if service is None or not scope["path"].startswith(GUARDED_PATHS):
            await self.app(scope, receive, send)
            return
        request = Request(scope)
        try:
            caller = await identify(request)
        except AppError:
            await self.app(scope, receive, send)
            return
        if not rates.is_limited(caller):
            await self.app(scope, receive, send)
            return
        counted = await rates.count(service.database, caller)

        async def send_with_limits(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.append("RateLimit-Policy", ", ".join(map(_policy, counted.minutes)))
                headers.append("RateLimit", ", ".join(map(_left, counted.minutes)))
            await send(message)

        app = self.app if counted.admitted else render(request, _refusal(counted))
        await app(scope, receive, send_with_limits)


def _policy(minute: Minute) -> str:
    return f'"{minute.subject.kind}-minute";q={minute.most};w={MINUTE_SECONDS}'


def _left(minute: Minute) -> str:
    return f'"{minute.subject.kind}-minute";r={minute.remaining};t={minute.seconds_left}'


def _refusal(counted: Counted) -> RateLimited:
    full = [minute for minute in counted.minutes if not minute.remaining]
    wait = max(minute.seconds_left for minute in full)
    return RateLimited(f"Only {_listed(full)} in a minute are answered.", retry_after=wait)


def _listed(minutes: Iterable[Minute]) -> str:
    return " and ".join(f"{minute.most} requests of {minute.subject.whose}" for minute in minutes)
