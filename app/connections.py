"""HTTP connections. Uvicorn takes heads of requests of any length and slowness; here those are hung up on."""

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_BYTES = 64 * 1024
HEAD_SECONDS = 30.0


class BoundedHeads(HttpToolsProtocol):
    """Closes a connection on which more than `HEAD_BYTES` come that are no body, or a head takes `HEAD_SECONDS`.

    Trailers and the empty lines between requests are bounded with it.
    """

    _unusable_bytes = 0
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_came()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._unusable_bytes += len(data)
        super().data_received(data)
        if self._unusable_bytes > HEAD_BYTES:
            self.transport.close()

    def on_message_begin(self) -> None:
        self._expect_head()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._head_came()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._unusable_bytes = 0
        super().on_body(body)

    def _expect_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def _head_came(self) -> None:
        self._unusable_bytes = 0
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
