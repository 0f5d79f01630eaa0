"""HTTP connections of uvicorn, with limits on slow and silent clients, because uvicorn lets a client wait for ever.

This module limits everything that comes before a request's body, and answers that the client does not read. `bodies`
limits bodies, `connection_limits` the number of connections, and `request_limits` the number of requests at work.
"""

import asyncio
import socket
import struct
from typing import Any, cast
from urllib.parse import unquote

import httptools
import structlog
from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle
from uvicorn.server import ServerState

from app.api.problems import raw_answer
from app.api.server.connection_limits import ConnectionLimits
from app.api.server.forwarding import Proxies
from app.api.server.http_1_0 import without_chunks
from app.api.server.parsing import ParsedConnection
from app.api.server.request_limits import LimitedRequest, RequestLimits
from app.api.server.websockets import PATHS, WebSocketConnection
from app.errors import BadRequest, Unavailable

HEAD_BYTES = 64 * 1024
HEAD_SECONDS = 30.0
FIRST_BYTE_SECONDS = 5.0
UNREAD_SECONDS = 30.0
MIN_BYTES_PER_SECOND = 1000
PIPELINED_REQUESTS = 16
# The value of SO_LINGER with which the kernel drops its buffered bytes. Otherwise it would offer them for minutes.
RESET = struct.pack("ii", 1, 0)
TOO_MANY_CONNECTIONS = raw_answer(Unavailable("Too many connections.", retry_after=5), request_id="")
_WEBSOCKET_PATHS = frozenset(path.encode() for path in PATHS)
HEAD_TOO_LONG = f"The first line and the headers of a request may have {HEAD_BYTES} bytes."

log = structlog.stdlib.get_logger("callscribe.http")


class Connection(ParsedConnection):
    """A connection that closes itself if its client is silent, sends a head too slowly, or does not read its answers.

    It also closes itself if a head is too long. The head of a request is its first line and its headers. Its limits
    also hold for trailers and for empty text lines between requests.
    """

    def __init__(
        self,
        *args: Any,
        connection_limits: ConnectionLimits,
        request_limits: RequestLimits,
        proxies: Proxies,
        root_path: str,
        websockets: ServerState,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._root_path = root_path.encode()
        self._connection_limits = connection_limits
        self._request_limits = request_limits
        self._proxies = proxies
        self._websockets = websockets
        self._limited: LimitedRequest | None = None
        self._closed_to_make_room = False
        self._head_bytes = 0
        self._silent = True
        self._head_timer: asyncio.TimerHandle | None = None
        self._reading_timer: asyncio.TimerHandle | None = None
        self._running: RequestResponseCycle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if self._closed_to_make_room:
            transport.abort()
            return
        transport.set_write_buffer_limits(high=0)  # so that `pause_writing` reports every answer that waits
        self._start_head_timer(FIRST_BYTE_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        self._connection_limits.remove(self)
        self._reset_head_limits()
        self._stop_reading_timer()
        super().connection_lost(exc)
        self.pipeline.clear()
        if self._limited is not None:
            self._limited.release()
            self._limited = None
        if self._running is not None and not self._running.response_complete:  # uvicorn knows only the newest request
            self._running.disconnected = True
            self._running.message_event.set()
        self._running = None

    def may_become_websocket(self) -> bool:
        """Whether it is the opening of a live call, and no earlier request of the connection waits for its answer."""
        headers: dict[bytes, bytes] = dict(self.headers)
        return (
            self.parser.get_method() == b"GET"
            and self.parser.get_http_version() == "1.1"
            and headers.get(b"upgrade", b"").strip().lower() == b"websocket"
            and self._without_root_path(self.url).partition(b"?")[0] in _WEBSOCKET_PATHS
            and (self.cycle is None or self.cycle.response_complete)
        )

    def become_websocket(self, already_sent: bytes) -> None:
        """Hands the connection over. It stays counted until it is lost."""
        url = httptools.parse_url(self._without_root_path(self.url))
        secure = self.scope["scheme"] == "https"
        scope: Scope = {
            **self.scope,
            "type": "websocket",
            "scheme": "wss" if secure else "ws",
            "path": unquote(url.path.decode("ascii")),
            "raw_path": url.path,
            "query_string": url.query or b"",
        }
        self._proxies.apply(scope)
        self._stop_reading_timer()
        self.connections.discard(self)
        connection = WebSocketConnection(
            self.config,
            self._websockets,
            cast("dict[str, Any]", scope),
            request_limits=self._request_limits,
            on_lost=lambda: self._connection_limits.remove(self),
        )
        connection.take_over(self.transport, already_sent)

    def close_to_make_room(self) -> None:
        """Closes the connection so that another one has room. If it is not open yet, it closes as soon as it opens."""
        self._closed_to_make_room = True
        if self.transport is not None:
            self.transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._silent:
            self._silent = False
            self._reset_head_limits()
            self._start_head_timer(HEAD_SECONDS)
        self._head_bytes += len(data)
        super().data_received(data)
        if self._head_bytes > HEAD_BYTES and not self._is_refused:
            self.refuse(BadRequest(HEAD_TOO_LONG))
        if len(self.pipeline) > PIPELINED_REQUESTS:
            self.transport.abort()

    def on_message_begin(self) -> None:
        self._start_head_timer(HEAD_SECONDS)
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._reset_head_limits()
        self._connection_limits.mark_busy(self)
        self.scope["state"]["arrived_at"] = self.loop.time()
        if not self.parser.should_upgrade():  # otherwise the head is parsed again
            self.url = self._without_root_path(self.url)
        super().on_headers_complete()

    def _without_root_path(self, url: bytes) -> bytes:
        """A proxy may remove the path or pass it on."""
        is_below = self._root_path and url.startswith(self._root_path + b"/")
        return url.removeprefix(self._root_path) if is_below else url

    def on_body(self, body: bytes) -> None:
        self._head_bytes = 0
        super().on_body(body)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._running is not None and self._running.response_complete:  # and no pipelined request has begun
            self._silent = True
            self._connection_limits.mark_idle(self)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._start_reading_timer()

    def resume_writing(self) -> None:
        self._stop_reading_timer()
        super().resume_writing()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        if cycle.scope["http_version"] == "1.0":
            app = without_chunks(cycle, app)
        begin = super()._start_asgi_task
        scope: Any = cycle.scope
        self._proxies.apply(scope)
        self._limited = self._request_limits.begin_when_free(
            scope, app, lambda limited_app: begin(cycle, cast("Any", limited_app))
        )

    def _start_head_timer(self, seconds: float) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(seconds, self.transport.close)

    def _reset_head_limits(self) -> None:
        self._head_bytes = 0
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _start_reading_timer(self) -> None:
        waiting = self.transport.get_write_buffer_size()
        self._reading_timer = self.loop.call_later(UNREAD_SECONDS, self._abort_if_not_read, waiting)

    def _abort_if_not_read(self, waited: int) -> None:
        if waited - self.transport.get_write_buffer_size() < UNREAD_SECONDS * MIN_BYTES_PER_SECOND:
            log.info("a client did not read its answer", client=self.client and self.client[0], seconds=UNREAD_SECONDS)
            sock = self.transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            self.transport.abort()
        else:
            self._start_reading_timer()

    def _stop_reading_timer(self) -> None:
        if self._reading_timer is not None:
            self._reading_timer.cancel()
            self._reading_timer = None
