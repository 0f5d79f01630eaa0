"""The server of `callscribe webhooks listen`, a receiver to try webhooks and callbacks with.

It prints each request and checks its signature. It needs nothing of the service but the secrets.
"""

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from app.deliveries.signing import verify

MAX_BODY_BYTES = 64 * 1024


def listener(host: str, port: int, secrets: Sequence[str], show: Callable[[str], None]) -> ThreadingHTTPServer:
    """Returns a server that calls `show` with the text of each request.

    It answers 204 to a GET and to an event that is signed with one of the secrets, and 401 to any other event.
    """

    class Receiver(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            show(f"GET {self.path}\n")
            self._answer(204)

        def do_POST(self) -> None:
            length = self.headers.get("content-length", "")
            if not length.isdecimal() or int(length) > MAX_BODY_BYTES:
                self._answer(413)
                return
            body = self.rfile.read(int(length))
            headers = {name.lower(): value for name, value in self.headers.items()}
            genuine = any(verify(secret, headers, body, datetime.now(UTC)) for secret in secrets)
            verdict = "valid" if genuine else "NOT VALID"
            show(f"POST {self.path}\nwebhook-id {headers.get('webhook-id')}, signature {verdict}")
            show(_readable(body) + "\n")
            self._answer(204 if genuine else 401)

        def _answer(self, status: int) -> None:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Logs nothing, because `show` prints each request in full."""

    return ThreadingHTTPServer((host, port), Receiver)


def _readable(body: bytes) -> str:
    try:
        return json.dumps(json.loads(body), indent=2, ensure_ascii=False)
    except ValueError:
        return body.decode("utf-8", "replace")
