"""The connections of live calls, after their HTTP connection has handed them over: uvicorn's WebSockets, with limits.

A client may hold such a connection for hours, may send faster than the service works, and may never read. Nothing of
that must cost more than a bounded amount of memory.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, cast

from starlette.types import ASGIApp
from uvicorn.config import Config
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState
from websockets.frames import Frame
from websockets.http11 import Request

from app.api.server.request_limits import LimitedRequest, RequestLimits

PATHS = ("/v1/live", "/v1/realtime")
MESSAGE_BYTES = 1024 * 1024
PING_SECONDS = 20.0
UNSENT_BYTES = 64 * 1024
CLOSING_SECONDS = 10.0
HANDSHAKE_HEADERS = (b"host", b"upgrade", b"connection", b"origin")
HANDSHAKE_PREFIX = b"sec-websocket-"

log = logging.getLogger("callscribe.websockets")
log.setLevel(logging.WARNING)  # because uvicorn tells this logger the whole address, in which tokens stand


class WebSocketConnection(WebSocketsSansIOProtocol):
    """The connection of one live call. `scope` is that of the request that opened it.

    It calls `on_lost` when the connection is lost.
    """

    def __init__(
        self,
        config: Config,
        state: ServerState,
        scope: dict[str, Any],
        *,
        request_limits: RequestLimits,
        on_lost: Callable[[], object],
    ) -> None:
        super().__init__(config, state, {})
        self.logger = self.conn.logger = log
        self.conn.debug = False  # otherwise it logs keys, and what is said
        self._opened_by = scope
        self._request_limits = request_limits
        self._limited: LimitedRequest | None = None
        self._on_lost = on_lost
        self._heard = False
        self._was_closing = False
        self._watching: asyncio.TimerHandle | None = None

    def take_over(self, transport: asyncio.Transport, already_sent: bytes) -> None:
        """Begins with a transport. `already_sent` are the bytes that the client has sent behind its request."""
        self.connection_made(transport)
        transport.set_write_buffer_limits(high=UNSENT_BYTES)
        transport.set_protocol(self)
        self._watch()
        self.data_received(_handshake(self._opened_by["headers"]))
        if self.conn.handshake_exc is not None and not transport.is_closing():
            transport.write(b"".join(self.conn.data_to_send()))
            transport.close()
        elif already_sent and not transport.is_closing():
            self.data_received(already_sent)

    def connection_lost(self, exc: Exception | None) -> None:
        self._on_lost()
        if self._limited is not None:
            self._limited.release()
        if self._watching is not None:
            self._watching.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._heard = True
        super().data_received(data)

    def handle_connect(self, event: Request) -> None:
        self.request = event
        self.response = self.conn.accept(event)
        self.handshake_initiated = True
        if self.response.status_code != 101:
            self.handshake_complete = self.close_sent = True
            self.conn.send_response(self.response)
            self.transport.write(b"".join(self.conn.data_to_send()))
            self.transport.close()
            return
        offered = ",".join(event.headers.get_all("Sec-WebSocket-Protocol")).split(",")
        scope: Any = {
            **self._opened_by,
            "subprotocols": [name.strip() for name in offered if name.strip()],
            "extensions": {"websocket.http.response": {}},
        }
        self.scope = scope
        self.queue.put_nowait({"type": "websocket.connect"})
        self._limited = self._request_limits.begin_when_free(scope, cast("ASGIApp", self.app), self._start)

    def _start(self, app: ASGIApp) -> None:
        self.app = cast("Any", app)
        task = self.loop.create_task(self.run_asgi())
        task.add_done_callback(self.on_task_complete)
        self.tasks.add(task)

    def handle_parser_exception(self) -> None:
        self.handle_events()  # sound may have come together with what is wrong, and uvicorn would drop it
        if self.conn.close_sent is None:  # the handshake is not answered yet, so a close frame would not be understood
            self.transport.abort()
        else:
            super().handle_parser_exception()

    def handle_cont(self, event: Frame) -> None:
        if event.data or event.fin:  # empty ones would grow a list for ever
            super().handle_cont(event)

    def handle_ping(self) -> None:
        if self.writable.is_set():
            super().handle_ping()
        else:
            self.conn.data_to_send()  # the client does not read, so it misses the answer too

    def keepalive_timeout(self) -> None:
        """Goes on with a client that sends but does not answer pings: it may not read at all."""
        if self._heard or self.read_paused:
            self._heard = False
            self.pong_timer, self.pending_ping_payload = None, None
            self.schedule_ping()
        else:
            super().keepalive_timeout()

    def send_keepalive_ping(self) -> None:
        self._heard = False
        super().send_keepalive_ping()

    async def send(self, message: Any) -> None:
        if message["type"] == "websocket.close":
            self.writable.set()  # a client that does not read must not keep the call open
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and not message.get("more_body", False):
            self.handshake_complete = True  # otherwise uvicorn logs that there was no answer

    def _watch(self) -> None:
        """Aborts the connection if it has been closing for a while, because a client that does not read keeps it."""
        if self._was_closing:
            self.transport.abort()
            return
        self._was_closing = self.transport.is_closing()
        self._watching = self.loop.call_later(CLOSING_SECONDS, self._watch)


def _handshake(headers: list[tuple[bytes, bytes]]) -> bytes:
    """Returns the request as the parser of the handshake reads it, with the headers that it needs."""
    needed = (
        b"%b: %b\r\n" % (name, value)
        for name, value in headers
        if name in HANDSHAKE_HEADERS or name.startswith(HANDSHAKE_PREFIX)
    )
    return b"GET / HTTP/1.1\r\n%b\r\n" % b"".join(needed)
