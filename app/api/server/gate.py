"""Decides when each request begins: one turnstile for requests that need a key, and one for those that need none.

A request that needs a key holds its place until its answer begins, or until it waits for its client: for the body, or
with `?wait=`. Other requests hold theirs for one pass of the event loop, because only readiness checks take longer.
"""

import asyncio
from collections.abc import Callable, Hashable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.server.turnstile import Pass, Turnstile

GUARDED_PATHS = "/v1/"
MOST, MOST_OF_A_CLIENT = 32, 8
MOST_OPEN, MOST_OPEN_OF_A_CLIENT = 4, 1
PATIENCE_SECONDS = 10.0
OVERLOADED = "overloaded"  # in the request's state: it waited too long for a place


class Gate:
    """`name_of` names the client of a request: by its key if that is valid, otherwise by its address."""

    def __init__(self, name_of: Callable[[Scope], Hashable]) -> None:
        self._name_of = name_of
        self._guarded = Turnstile(MOST, MOST_OF_A_CLIENT)
        self._open = Turnstile(MOST_OPEN, MOST_OPEN_OF_A_CLIENT)

    def enter(self, scope: Scope, app: ASGIApp, begin: Callable[[ASGIApp], None]) -> "Entry":
        """Calls `begin` with the application when the request may begin."""
        guarded = scope["path"].startswith(GUARDED_PATHS)
        turnstile = self._guarded if guarded else self._open
        return Entry(turnstile, self._name_of(scope), app, begin, brief=not guarded)


class Entry:
    """One request's way through the gate."""

    def __init__(
        self, turnstile: Turnstile, client: Hashable, app: ASGIApp, begin: Callable[[ASGIApp], None], *, brief: bool
    ) -> None:
        self._app = app
        self._begin = begin
        self._brief = brief
        self._overloaded = False
        self._loop = asyncio.get_running_loop()
        self._patience = self._loop.call_later(PATIENCE_SECONDS, self._give_up)
        self._pass: Pass | None = None
        self._pass = turnstile.enter(client, self._enter)

    def leave(self) -> None:
        self._patience.cancel()
        if self._pass is not None:
            self._pass.leave()

    def _enter(self) -> None:
        self._patience.cancel()
        self._begin(self._through)
        if self._brief:
            self._loop.call_soon(self.leave)

    def _give_up(self) -> None:
        self.leave()
        self._overloaded = True
        self._begin(self._through)

    async def _through(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def receive_outside() -> Message:
            self.leave()
            return await receive()

        async def send_outside(message: Message) -> None:
            self.leave()
            await send(message)

        if self._overloaded:
            scope["state"][OVERLOADED] = True
        try:
            await self._app(scope, receive_outside, send_outside)
        finally:
            self.leave()
