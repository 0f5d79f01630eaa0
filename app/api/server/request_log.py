"""Gives each request an id, and logs and counts the request when it ends.

The id is in the answer and in every log line about the request, so that clients and operators can name one request.
"""

import time

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uuid_utils.compat import uuid7

from app import metrics
from app.api.server.availability import PROBES

REQUEST_ID = "X-Request-ID"

SWITCHED = 101
STARTS = frozenset({"http.response.start", "websocket.http.response.start", "websocket.accept"})

log = structlog.stdlib.get_logger("callscribe.http")


class RequestLogMiddleware:
    """An ASGI middleware that gives each request an id, and logs the request when it ends.

    The id comes from the request's `X-Request-ID`. If there is none, or it cannot be used, the middleware makes one.
    Probes are logged only at the level `debug`. The log line also has the address of the `client`, which a trusted
    proxy may have forwarded. If the request's state has them, it has the `code` and the `reason` of the problem that
    was answered, the `caller`, which is the name of the API key, and the id of a new `job`. A live call is logged when
    it ends, with the status 101 and its `close_code`.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_websocket = scope["type"] == "websocket"
        sent_id = Headers(scope=scope).get(REQUEST_ID, "")
        request_id = (
            sent_id if sent_id.isascii() and sent_id.isprintable() and 0 < len(sent_id) <= 128 else str(uuid7())
        )
        state = scope.setdefault("state", {})
        state["request_id"] = request_id
        started, answered, status, closed = time.perf_counter(), time.perf_counter(), 0, 0

        async def send_with_id(message: Message) -> None:
            nonlocal answered, status, closed
            if message["type"] in STARTS:
                answered, status = time.perf_counter(), message.get("status", SWITCHED)
                message.setdefault("headers", [])
                MutableHeaders(scope=message)[REQUEST_ID] = request_id
            elif message["type"] == "websocket.close":
                closed = closed or message.get("code", 1000)
            await send(message)

        async def receive_and_note() -> Message:
            nonlocal closed
            message = await receive()
            if message["type"] == "websocket.disconnect":
                closed = closed or message.get("code", 1005)
            return message

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self.app(scope, receive_and_note if is_websocket else receive, send_with_id)
            finally:
                seconds = time.perf_counter() - started
                milliseconds = round(seconds * 1000, 1)
                method = "GET" if is_websocket else scope["method"]
                # The time of a live call until its end would not be comparable with that of any other request.
                metrics.request_answered(
                    _template(scope), method, status, answered - started if is_websocket else seconds
                )
                known = {name: state[name] for name in ("code", "reason", "caller", "job") if name in state}
                write = log.debug if scope["path"] in PROBES else log.info
                facts = {"method": method, "path": scope["path"], "status": status, "ms": milliseconds}
                if closed:
                    facts["close_code"] = closed
                write("request", client=scope["client"] and scope["client"][0], **facts, **known)


def _template(scope: Scope) -> str | None:
    """The path of the route that answered, without the values of its parameters."""
    return getattr(scope.get("route"), "path_format", None)
