"""Parses requests as uvicorn does, except for those that offer an upgrade and those that are not HTTP.

The service accepts one offer: the WebSocket of a live call (`websockets`). It ignores all others.

A client may offer to change the protocol of its connection. Java's HttpClient offers HTTP/2 with each request. RFC 9110
(section 7.8) lets a server ignore the offer, and then the request is an ordinary one. But uvicorn's parser takes the
body of such a request for data of the other protocol, so the body would be lost.
"""

import httptools
import structlog
from uuid_utils.compat import uuid7
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.api.problems import INTERNAL_ERROR_DETAIL, raw_answer
from app.errors import AppError, BadRequest, InternalError

LINGER_SECONDS = 2.0  # after a refusal, so that a client that is still sending does not lose the answer

HTTP_2_PREFACE = "Pause on PRI/Upgrade"  # the parser's name for a connection that begins with HTTP/2

log = structlog.stdlib.get_logger("callscribe.http")


class ParsedConnection(HttpToolsProtocol):
    """A connection of uvicorn that ignores offers of an upgrade, and answers malformed requests with a problem."""

    _is_refused = False

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        unparsed = memoryview(data)
        try:
            while unparsed and not self._is_refused:
                unparsed = self._parse(unparsed)
        except httptools.HttpParserCallbackError as error:
            if isinstance(error.__context__, httptools.HttpParserInvalidURLError):
                self.refuse(BadRequest("The address in the request's first line is malformed."))
            else:
                log.exception("unhandled error")
                self.refuse(InternalError(INTERNAL_ERROR_DETAIL))
        except httptools.HttpParserError as error:
            reason = "it is HTTP/2, and the service speaks HTTP/1.1" if str(error) == HTTP_2_PREFACE else error
            self.refuse(BadRequest(f"The request cannot be parsed: {reason}."))

    def _parse(self, data: memoryview) -> memoryview:
        """Parses the data, but stops after a head that offers an upgrade. Returns what is not parsed yet.

        The parser ends a request after such a head. So the head is parsed again, without its header `Upgrade`. But if
        the connection may become a WebSocket, it is handed over with everything that is not parsed yet.
        """
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            if self.may_become_websocket():
                self.become_websocket(bytes(data[offer.args[0] :]))
                return data[:0]
            head = self._head_without_upgrade()
            self.parser = httptools.HttpRequestParser(self)
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
            self.parser.feed_data(head)
            return data[offer.args[0] :]
        return data[:0]

    def may_become_websocket(self) -> bool:
        """Whether the offer of the request is one to accept."""
        return False

    def become_websocket(self, already_sent: bytes) -> None:
        raise NotImplementedError

    def _head_without_upgrade(self) -> bytes:
        method, version = self.parser.get_method(), self.parser.get_http_version().encode()
        if method == b"CONNECT":
            raise httptools.HttpParserInvalidMethodError("The service is not a proxy, so it knows no method CONNECT")
        headers = (b"%b: %b\r\n" % header for header in self.headers if header[0] != b"upgrade")
        return b"%b %b HTTP/%b\r\n%b\r\n" % (method, self.url, version, b"".join(headers))

    def on_headers_complete(self) -> None:
        if not self.parser.should_upgrade():
            super().on_headers_complete()

    def on_message_complete(self) -> None:
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def refuse(self, error: AppError) -> None:
        """Answers a request that no route can answer, reads nothing more, and closes the connection.

        If earlier requests of the connection have no answer yet, they get theirs first, and the refused one gets none.
        If an answer to the refused request has begun, the connection is closed in the middle of it.
        """
        self._is_refused = True
        newest = self.cycle
        if newest is not None and not newest.response_complete and not newest.more_body:
            newest.keep_alive = False
        elif self.pipeline or (newest is not None and newest.response_started and not newest.response_complete):
            self.transport.close()
        elif not self.transport.is_closing():
            if newest is not None and not newest.response_complete:
                newest.disconnected = True
                newest.message_event.set()
            request_id = str(uuid7())
            client = self.client and self.client[0]
            log.info(
                "malformed request", client=client, status=error.status, detail=error.detail, request_id=request_id
            )
            self.transport.write(raw_answer(error, request_id))
            self.transport.write_eof()
            self.loop.call_later(LINGER_SECONDS, self.transport.close)
