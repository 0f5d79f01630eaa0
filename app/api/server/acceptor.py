"""Takes connections from a listening socket and opens them a few at a time, the clients in turn.

Uvloop takes one a beat of the event loop: while hundreds of clients are served, each beat is long, and newcomers wait
for seconds. It also closes the listening socket for good when it finds no free file at the wrong moment. Taking a
connection is cheap and opening it is not, so a client that comes alone is opened before the last of a thousand. It
knows no HTTP.
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
    """A connection that is taken and not open yet."""

    def __init__(self, client: socket.socket, address: str) -> None:
        self.client = client
        self.address = address

    def give_up(self) -> None:
        self.client.close()


class Acceptor:
    """What uvicorn calls a server: open from the start until `close`."""

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
        """Take no more. Those who are taken and not open yet are hung up on."""
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
            except OSError as error:  # no free file, no memory: those who wait are taken later
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
        if newcomer.client.fileno() < 0:  # given up meanwhile
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
        except OSError:  # it has hung up already
            self._admission.leave(connection)
            client.close()


def _keep_few_unsent(client: socket.socket) -> None:
    """Without it, the kernel takes megabytes of each answer that nobody reads. Linux and macOS know the option."""
    option = getattr(socket, "TCP_NOTSENT_LOWAT", None)
    if option is not None:
        client.setsockopt(socket.IPPROTO_TCP, option, UNSENT_BYTES)
