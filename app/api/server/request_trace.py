"""Makes a span of each request of the API, as the beginning of the trace of a call or as a part of a client's trace."""

from uuid import UUID

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bound_contextvars

from app import tracing
from app.api.server.request_log import STARTS, SWITCHED

HEADER = tracing.HEADER.encode()
TRACED_PATHS = "/v1/"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class RequestTraceMiddleware:
    """An ASGI middleware that makes a span of each request below `/v1/`.

    A valid `traceparent` of the client is its parent. If this process records no spans, it only passes on that parent.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not scope["path"].startswith(TRACED_PATHS):
            await self.app(scope, receive, send)
            return
        sent = [value for name, value in scope["headers"] if name == HEADER]
        if not sent and not tracing.are_recorded():
            await self.app(scope, receive, send)
            return
        parent = tracing.of_client(sent[0].decode("latin-1") if len(sent) == 1 else None)
        sent_method = scope.get("method", "GET")  # a WebSocket has none
        method = sent_method if sent_method in METHODS else "_OTHER"
        with tracing.span(method, parent, tracing.SpanKind.SERVER, http__request__method=method) as span:

            async def send_and_note(message: Message) -> None:
                if message["type"] in STARTS:
                    status = message.get("status", SWITCHED)
                    tracing.describe(span, http__response__status_code=status)
                    if status >= 500:
                        tracing.fail(span, status)
                await send(message)

            with bound_contextvars(**tracing.log_fields()):
                try:
                    await self.app(scope, receive, send_and_note if span.is_recording() else send)
                finally:
                    if span.is_recording():
                        _name(span, scope, method)


def _name(span: tracing.Span, scope: Scope, method: str) -> None:
    """Names the span by its route, never by its path or its query, in which clients may write anything."""
    route = getattr(scope.get("route"), "path_format", None)
    if route is not None:
        span.update_name(f"{method} {route}")
    read = scope.get("path_params", {}).get("transcription_id")
    job = str(read) if isinstance(read, UUID) else scope["state"].get("job")
    tracing.describe(span, http__route=route, callscribe__job__id=job)
