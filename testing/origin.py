"""An HTTP server on the loopback. A test decides every answer, byte by byte if needed."""

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from testing.recordings import tone


class Exchange(BaseHTTPRequestHandler):
    """A request, with methods that answer it byte by byte."""

    protocol_version = "HTTP/1.1"
    origin: "Origin"
    body = b""

    def do_POST(self) -> None:
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        with self.origin.lock:
            self.origin.bodies.append(self.body)
        self.do_GET()

    def do_GET(self) -> None:
        self.close_connection = True
        path = self.path.partition("?")[0]
        with self.origin.lock:
            self.origin.asked.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
        with suppress(OSError):  # the client has disconnected
            self.origin.answers[path](self)

    def head(self, status: int = 200, **headers: str | int) -> None:
        """Sends the head of an answer. Underscores in the names of `headers` become hyphens."""
        self.send_response(status)
        self.send_header("Connection", "close")  # as do_GET does
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()

    def whole(self, content: bytes, status: int = 200, **headers: str | int) -> None:
        self.head(status, Content_Length=len(content), **headers)
        self.wfile.write(content)

    def hang(self) -> None:
        """Sends nothing until the test is over."""
        self.origin.over.wait()

    def drip(self, chunk: bytes, seconds: float) -> None:
        """Sends `chunk` every `seconds`, until the test is over or the client has disconnected."""
        while not self.origin.over.wait(seconds):
            self.wfile.write(chunk)
            self.wfile.flush()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass


Answer = Callable[[Exchange], None]


@dataclass
class Origin:
    """The answers by path, and the requests so far.

    A request has its path with the query, and its headers with names in lower case. `bodies` are those of POST.
    """

    port: int
    answers: dict[str, Answer] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def headers_of(self, path: str) -> list[dict[str, str]]:
        return [headers for asked, headers in self.asked if asked.partition("?")[0] == path]


@contextmanager
def answering(tls: ssl.SSLContext | None = None) -> Iterator[Origin]:
    """Serves on a free port until the end of the block."""

    class Handler(Exchange):
        pass

    class Server(ThreadingHTTPServer):
        daemon_threads = False

        def handle_error(self, request: Any, client_address: Any) -> None:
            """Logs nothing, because in some tests clients break off a handshake on purpose."""

    with Server(("127.0.0.1", 0), Handler) as server:
        origin = Handler.origin = Origin(server.server_port)
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield origin
        finally:
            origin.over.set()
            server.shutdown()
            thread.join()


def half_and_hang(exchange: Exchange) -> None:
    """Sends the beginning of a recording, then nothing."""
    exchange.head(Content_Length=len(tone()))
    exchange.wfile.write(tone()[:1000])
    exchange.wfile.flush()
    exchange.hang()
