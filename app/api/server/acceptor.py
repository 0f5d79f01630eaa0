"""Accepts connections from a listening socket and opens a few of them at a time, one client after the other.

Uvloop accepts one connection in each pass of the event loop. While hundreds of clients are served, a pass is long, so
new clients wait for seconds. Uvloop also closes the listening socket for good if no file is free at the wrong moment.
Accepting a connection is cheap and opening it is not, so a client with one connection does not wait behind a client
with a thousand. This module must not know HTTP.
"""

import asyncio
import socket
from collections import deque
from collections.abc import Callable
from contextlib import suppress

import structlog

from app.api.server.admission import Admission, client_of
from app.api.server.connections import FULL, Connection

TAKEN_A_BEAT = 256
OPENED_A_BEAT = 8
PAUSE_SECONDS = 0.5
UNSENT_BYTES = 128 * 1024

log = structlog.stdlib.get_logger("callscribe.http")


class Newcomer:
    """A connection that is accepted but not open yet."""

    def __init__(self, client: socket.socket, address: str) -> None:
        self.client = client
        self.address = address

    def give_up(self) -> None:
        self.client.close()


class Acceptor:
    """Plays the part of uvicorn's server object. It accepts connections from its creation until `close`."""

    def __init__(self, listener: socket.socket, admission: Admission, create: Callable[[], Connection]) -> None:
        self._listener = listener
        self._admission = admission
        self._create = create
        self._loop = asyncio.get_running_loop()
        self._newcomers: dict[str, deque[Newcomer]] = {}  # by client, in the order of their turns
        self._opening: set[asyncio.Task[None]] = set()
        self._closed = False
        listener.setblocking(False)
        self._listen()

    def close(self) -> None:
        """Accept no more connections, and close those that are accepted but not open yet."""
        self._closed = True
        self._loop.remove_reader(self._listener)
        for newcomers in self._newcomers.values():
            for newcomer in newcomers:
                self._admission.leave(newcomer)
                newcomer.client.close()
        self._newcomers.clear()

    async def wait_closed(self) -> None:
        await asyncio.gather(*self._opening)

    def _listen(self) -> None:
        if not self._closed:
            self._loop.add_reader(self._listener, self._take)

    def _take(self) -> None:
        was_idle = not self._newcomers
        for _ in range(TAKEN_A_BEAT):
            try:
                client, address = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                break
            except OSError as error:  # no free file or memory: the waiting clients are accepted later
                log.warning("no connection taken", error=error.strerror)
                self._loop.remove_reader(self._listener)
                self._loop.call_later(PAUSE_SECONDS, self._listen)
                break
            self._admit(Newcomer(client, address[0]))
        if was_idle:
            self._open_some()

    def _admit(self, newcomer: Newcomer) -> None:
        newcomer.client.setblocking(False)
        if self._admission.has_room(newcomer.address):
            self._admission.hold(newcomer, newcomer.address)
            self._newcomers.setdefault(client_of(newcomer.address), deque()).append(newcomer)
        else:
            with suppress(OSError):
                newcomer.client.send(FULL)
            newcomer.client.close()

    def _open_some(self) -> None:
        for _ in range(OPENED_A_BEAT):
            if not self._newcomers:
                return
            name = next(iter(self._newcomers))
            newcomers = self._newcomers.pop(name)
            self._open(newcomers.popleft())
            if newcomers:
                self._newcomers[name] = newcomers
        self._loop.call_soon(self._open_some)

    def _open(self, newcomer: Newcomer) -> None:
        self._admission.leave(newcomer)
        if newcomer.client.fileno() < 0:  # given up since it was accepted
            return
        connection = self._create()
        self._admission.hold(connection, newcomer.address)
        opening = self._loop.create_task(self._connect(newcomer.client, connection))
        self._opening.add(opening)
        opening.add_done_callback(self._opening.discard)

    async def _connect(self, client: socket.socket, connection: Connection) -> None:
        try:
            _keep_few_unsent(client)
            await self._loop.connect_accepted_socket(lambda: connection, client)
        except OSError:  # the client has already hung up
            self._admission.leave(connection)
            client.close()


def _keep_few_unsent(client: socket.socket) -> None:
    """Otherwise the kernel buffers megabytes of each answer that its client does not read. Linux and macOS only."""
    option = getattr(socket, "TCP_NOTSENT_LOWAT", None)
    if option is not None:
        client.setsockopt(socket.IPPROTO_TCP, option, UNSENT_BYTES)
