"""Accepts connections from a listening socket, and opens a few of them at a time, one for each client in turn.

It replaces uvloop's own code for two reasons. Uvloop accepts one connection in each pass of the event loop, so new
clients would wait for seconds while hundreds of others make each pass long. And if the process has no free file at the
wrong moment, uvloop closes the listening socket for good.

Accepting a connection is cheap, but opening it is not. So the listener accepts every connection immediately and lets it
wait to be opened, and a client with one connection does not wait behind a client with a thousand.
"""

import asyncio
import socket
from collections import deque
from collections.abc import Callable
from contextlib import suppress

import structlog

from app.api.server.connection_limits import ConnectionLimits, client_of
from app.api.server.connections import TOO_MANY_CONNECTIONS, Connection

ACCEPTED_AT_A_TIME = 256
OPENED_AT_A_TIME = 8
PAUSE_SECONDS = 0.5
UNSENT_BYTES = 128 * 1024

log = structlog.stdlib.get_logger("callscribe.http")


class WaitingConnection:
    """A connection that is accepted but not open yet. The limits count it, and may close it to make room."""

    def __init__(self, sock: socket.socket, address: str) -> None:
        self.socket = sock
        self.address = address

    def close_to_make_room(self) -> None:
        self.socket.close()


class Listener:
    """Accepts connections from its creation until `close`. Uvicorn's server uses it as if it were an asyncio server."""

    def __init__(
        self, listening: socket.socket, limits: ConnectionLimits, new_connection: Callable[[], Connection]
    ) -> None:
        self._listening = listening
        self._limits = limits
        self._new_connection = new_connection
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[str, deque[WaitingConnection]] = {}  # by client; the client that is served next comes first
        self._opening: set[asyncio.Task[None]] = set()
        self._closed = False
        listening.setblocking(False)
        self._listen()

    def close(self) -> None:
        """Accepts no more connections, and closes those that are accepted but not open yet."""
        self._closed = True
        self._loop.remove_reader(self._listening)
        for waiting in self._waiting.values():
            for connection in waiting:
                self._limits.remove(connection)
                connection.socket.close()
        self._waiting.clear()

    async def wait_closed(self) -> None:
        await asyncio.gather(*self._opening)

    def _listen(self) -> None:
        if not self._closed:
            self._loop.add_reader(self._listening, self._accept)

    def _accept(self) -> None:
        was_idle = not self._waiting
        for _ in range(ACCEPTED_AT_A_TIME):
            try:
                sock, address = self._listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                break
            except OSError as error:  # the process has no free file or memory, so it tries again after a pause
                log.warning("cannot accept connections at the moment", error=error.strerror)
                self._loop.remove_reader(self._listening)
                self._loop.call_later(PAUSE_SECONDS, self._listen)
                break
            self._queue_or_refuse(WaitingConnection(sock, address[0]))
        if was_idle:
            self._open_some()

    def _queue_or_refuse(self, connection: WaitingConnection) -> None:
        connection.socket.setblocking(False)
        if self._limits.has_room(connection.address):
            self._limits.add(connection, connection.address)
            self._waiting.setdefault(client_of(connection.address), deque()).append(connection)
        else:
            with suppress(OSError):
                connection.socket.send(TOO_MANY_CONNECTIONS)
            connection.socket.close()

    def _open_some(self) -> None:
        for _ in range(OPENED_AT_A_TIME):
            if not self._waiting:
                return
            client = next(iter(self._waiting))
            waiting = self._waiting.pop(client)
            self._open(waiting.popleft())
            if waiting:
                self._waiting[client] = waiting
        self._loop.call_soon(self._open_some)

    def _open(self, waiting: WaitingConnection) -> None:
        self._limits.remove(waiting)
        if waiting.socket.fileno() < 0:  # it was closed to make room for another connection
            return
        connection = self._new_connection()
        self._limits.add(connection, waiting.address)
        opening = self._loop.create_task(self._connect(waiting.socket, connection))
        self._opening.add(opening)
        opening.add_done_callback(self._opening.discard)

    async def _connect(self, sock: socket.socket, connection: Connection) -> None:
        try:
            _limit_unsent_bytes(sock)
            await self._loop.connect_accepted_socket(lambda: connection, sock)
        except OSError:  # the client has already hung up
            self._limits.remove(connection)
            sock.close()


def _limit_unsent_bytes(sock: socket.socket) -> None:
    """Limits how much of an answer the kernel buffers if the client does not read it. Otherwise it would be megabytes.

    Only Linux and macOS have this limit.
    """
    option = getattr(socket, "TCP_NOTSENT_LOWAT", None)
    if option is not None:
        sock.setsockopt(socket.IPPROTO_TCP, option, UNSENT_BYTES)
