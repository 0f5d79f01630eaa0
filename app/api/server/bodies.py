"""Ends request bodies that arrive too slowly, and reads on for a while after an early answer.

A body that never ends would keep its connection for ever. And if the service did not read on, many clients would lose
an answer that it sends before they have sent their whole body.
"""

import asyncio
import time
from contextlib import suppress

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import RequestTimeout

STALL_SECONDS = 30.0
MIN_BYTES_PER_SECOND = 1000
DRAIN_SECONDS = 10.0
DRAIN_BYTES = 32 * 1024 * 1024


class RequestBody:
    """The body of one request while it arrives. `ended` is true when all of it has arrived."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.ended = False
        self._bytes_to_drain = DRAIN_BYTES
        self._waited, self._arrived = 0.0, 0

    async def receive(self) -> Message:
        """Returns the next message of the body. Raises RequestTimeout if the client sends nothing, or too slowly.

        Only the time in which the service waits for the client counts, not the time in which it stores the bytes.
        """
        if self.ended:
            return await self._receive()
        started = time.monotonic()
        try:
            async with asyncio.timeout(STALL_SECONDS):
                message = await self._receive()
        except TimeoutError:
            raise self._too_slow(f"Nothing arrived for {STALL_SECONDS:g} s.") from None
        self._waited += time.monotonic() - started
        self._arrived += len(message.get("body", b""))
        self.ended = not message.get("more_body", False)
        if self._waited >= STALL_SECONDS and not self.ended:
            if self._arrived < MIN_BYTES_PER_SECOND * self._waited:
                raise self._too_slow(f"Fewer than {MIN_BYTES_PER_SECOND} bytes per second arrived.")
            self._waited, self._arrived = 0.0, 0
        return message

    def _too_slow(self, detail: str) -> RequestTimeout:
        self._bytes_to_drain = 0
        return RequestTimeout(detail)

    async def drain(self) -> None:
        """Reads and discards the rest of the body, up to the limits `DRAIN_SECONDS` and `DRAIN_BYTES`.

        If the client was too slow, it reads nothing.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_SECONDS):
                while not self.ended and self._bytes_to_drain > 0:
                    message = await self._receive()
                    self._bytes_to_drain -= len(message.get("body", b""))
                    self.ended = not message.get("more_body", False)


class RequestBodyMiddleware:
    """An ASGI middleware that ends bodies which arrive too slowly, and closes the connection after an early answer.

    An answer is early if it is sent before the request's body has arrived. If a connection is closed while data is
    unread, TCP resets it, and many clients lose the answer. So the middleware sends the whole answer, and sends its end
    only after it has read what the client goes on sending.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        body = RequestBody(receive)
        body.ended = not announces_body(scope)

        async def send_then_drain(message: Message) -> None:
            if message["type"] == "http.response.start" and not body.ended:
                MutableHeaders(scope=message)["Connection"] = "close"
            if message["type"] == "http.response.body" and not message.get("more_body", False) and not body.ended:
                await send({**message, "more_body": True})
                await body.drain()
                message = {"type": "http.response.body"}
            await send(message)

        await self.app(scope, body.receive, send_then_drain)


def announces_body(scope: Scope) -> bool:
    headers = dict(scope["headers"])
    return b"transfer-encoding" in headers or headers.get(b"content-length", b"0") != b"0"
