"""Answers HTTP/1.0 without chunks, which uvicorn would send although HTTP/1.0 does not know them (RFC 9112, 6.1).

Nginx before 1.29.7 speaks HTTP/1.0 with the server behind it, unless its configuration says otherwise.
"""

from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle


def without_chunks(cycle: RequestResponseCycle, app: Any) -> ASGIApp:
    """Returns the application for one request. An answer without a length ends when its connection is closed."""

    async def app_without_chunks(scope: Scope, receive: Receive, send: Send) -> None:
        has_length = True

        async def send_plain(message: Message) -> None:
            nonlocal has_length
            if message["type"] == "http.response.start":
                has_length = any(name.lower() == b"content-length" for name, _ in message.get("headers", []))
                if not has_length:
                    cycle.chunked_encoding, cycle.keep_alive = False, False
            elif not has_length:  # uvicorn requires that an answer is as long as was announced
                rest = 1 if message.get("more_body", False) else 0
                cycle.expected_content_length = len(message.get("body", b"")) + rest
            await send(message)

        await app(scope, receive, send_plain)

    return app_without_chunks
