"""Limits how many requests are at work at the same time. The others wait in a queue and begin later.

There are two queues: one for requests that need a key, and one for the page, the documentation and the probes, which
need none. So clients without a key cannot delay those with one.

A request that needs a key gives its place to the next one when its answer begins, or earlier, when it waits for its
client: for the rest of the body, or with `?wait=`. A request that needs no key gives it back after one pass of the
event loop. Most of these requests are answered by then. Only a readiness check takes longer.
"""

import asyncio
from collections.abc import Callable, Hashable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.server.request_queue import QueuedRequest, RequestQueue

GUARDED_PATHS = ("/v1/", "/metrics")  # the paths that need a key begin with these
MOST_WITH_KEY, MOST_WITH_KEY_PER_CLIENT = 32, 8
MOST_WITHOUT_KEY, MOST_WITHOUT_KEY_PER_CLIENT = 4, 1
LONGEST_WAIT_SECONDS = 10.0
OVERLOADED = "overloaded"  # set in the state of a request that waited too long, so that it is refused


class RequestLimits:
    """Decides when a request begins.

    `client_of_request` returns the client of a request, so that one client's requests do not delay another's.
    """

    def __init__(self, client_of_request: Callable[[Scope], Hashable]) -> None:
        self._client_of_request = client_of_request
        self._with_key = RequestQueue(MOST_WITH_KEY, MOST_WITH_KEY_PER_CLIENT)
        self._without_key = RequestQueue(MOST_WITHOUT_KEY, MOST_WITHOUT_KEY_PER_CLIENT)

    def begin_when_free(self, scope: Scope, app: ASGIApp, begin: Callable[[ASGIApp], None]) -> "LimitedRequest":
        """Calls `begin` when the request gets a place, or when it has waited too long and has to be refused.

        `begin` gets an ASGI application that runs `app` and gives the place back. The caller has to release the
        returned request if the connection is lost.
        """
        guarded = scope["path"].startswith(GUARDED_PATHS)
        queue = self._with_key if guarded else self._without_key
        return LimitedRequest(queue, self._client_of_request(scope), app, begin, brief=not guarded)


class LimitedRequest:
    """A request that waits for its place or is at work. If `brief`, it has its place for one pass of the event loop."""

    def __init__(
        self, queue: RequestQueue, client: Hashable, app: ASGIApp, begin: Callable[[ASGIApp], None], *, brief: bool
    ) -> None:
        self._app = app
        self._begin = begin
        self._brief = brief
        self._overloaded = False
        self._loop = asyncio.get_running_loop()
        self._longest_wait = self._loop.call_later(LONGEST_WAIT_SECONDS, self._begin_refusal)
        self._queued: QueuedRequest | None = None
        self._queued = queue.add(client, self._begin_work)

    def release(self) -> None:
        """Gives the place to another request, or stops waiting for one. May be called again."""
        self._longest_wait.cancel()
        if self._queued is not None:
            self._queued.release()

    def _begin_work(self) -> None:
        self._longest_wait.cancel()
        self._begin(self._run)
        if self._brief:
            self._loop.call_soon(self.release)

    def _begin_refusal(self) -> None:
        self.release()
        self._overloaded = True
        self._begin(self._run)

    async def _run(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def release_and_receive() -> Message:
            self.release()
            return await receive()

        async def release_and_send(message: Message) -> None:
            self.release()
            await send(message)

        if self._overloaded:
            scope["state"][OVERLOADED] = True
        try:
            await self._app(scope, release_and_receive, release_and_send)
        finally:
            self.release()
