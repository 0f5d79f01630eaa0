"""Ends request bodies that arrive too slowly, and reads on for a while after an early answer.

It exists because a slow client would hold its place for ever, and because a connection that is closed with unread data
loses the answer. It must not know routes.
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


class Body:
    """The body of one request as it arrives."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.ended = False
        self._patient = True
        self._waited, self._arrived = 0.0, 0

    async def receive(self) -> Message:
        """The next message. Raises RequestTimeout if the client sends nothing or too little.

        Only the time spent waiting for the client counts, not the time that the service takes to store the bytes.
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
                raise self._too_slow(f"Less than {MIN_BYTES_PER_SECOND} bytes a second arrived.")
            self._waited, self._arrived = 0.0, 0
        return message

    def _too_slow(self, detail: str) -> RequestTimeout:
        self._patient = False
        return RequestTimeout(detail)

    async def drain(self) -> None:
        """Read and discard the rest of the body, up to a number of seconds and bytes."""
        left = DRAIN_BYTES if self._patient else 0
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_SECONDS):
                while not self.ended and left > 0:
                    message = await self._receive()
                    left -= len(message.get("body", b""))
                    self.ended = not message.get("more_body", False)


class RequestBodies:
    """ASGI middleware: an answer before the end of the request's body closes the connection, but not immediately.

    If a connection is closed while data is unread, TCP resets it, and many clients lose the answer. So the whole answer
    is sent, but its end is held back while the client goes on sending.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        body = Body(receive)
        body.ended = not _announces_body(scope)

        async def send_then_drain(message: Message) -> None:
            if message["type"] == "http.response.start" and not body.ended:
                MutableHeaders(scope=message)["Connection"] = "close"
            if message["type"] == "http.response.body" and not message.get("more_body", False) and not body.ended:
                await send({**message, "more_body": True})
                await body.drain()
                message = {"type": "http.response.body"}
            await send(message)

        await self.app(scope, body.receive, send_then_drain)


def _announces_body(scope: Scope) -> bool:
    headers = dict(scope["headers"])
    return b"transfer-encoding" in headers or headers.get(b"content-length", b"0") != b"0"
