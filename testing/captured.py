"""Sends requests as other programs send them, from the files in `testing/captured_requests/`.

Each file is the head and the body that one program wrote to its socket: the same fields in the same order, with the
same file names, content types and headers. `send` fills in the host, the key, the length and the recording, and ends
lines with CRLF. It sends `Transfer-Encoding: chunked` in pieces as small as those of the programs.
"""

import socket
from collections.abc import Iterator
from http.client import HTTPResponse
from pathlib import Path

import httpx

from testing.service import Service

FOLDER = Path(__file__).parent / "captured_requests"
PIECE_BYTES = 64 * 1024


def send(
    service: Service,
    name: str,
    recording: bytes = b"",
    *,
    key: str = "unused",
    language: str = "en",
    timeout: float = 60,
) -> httpx.Response:
    """Sends the request of the file `name.http` on a connection of its own, and returns the whole answer."""
    with socket.create_connection(("127.0.0.1", service.port), timeout) as connection:
        connection.sendall(captured(name, recording, host=f"127.0.0.1:{service.port}", key=key, language=language))
        answer = HTTPResponse(connection)
        answer.begin()
        return httpx.Response(answer.status, headers=answer.getheaders(), content=answer.read())


def captured(name: str, recording: bytes, **values: str) -> bytes:
    """Returns the bytes of a request. Each of `values` replaces its name in angle brackets."""
    text = (FOLDER / f"{name}.http").read_text()
    for placeholder, value in values.items():
        text = text.replace(f"<{placeholder}>", value)
    head, _, body = text.replace("\n", "\r\n").encode().partition(b"\r\n\r\n")
    before, _, after = body.partition(b"<recording>")
    if b"Transfer-Encoding: chunked" in head:
        sent = b"".join(_chunks(before, recording, after))
    else:
        sent = before + recording + after
    return head.replace(b"<length>", str(len(sent)).encode()) + b"\r\n\r\n" + sent


def _chunks(before: bytes, recording: bytes, after: bytes) -> Iterator[bytes]:
    yield from map(_chunk, before.splitlines(keepends=True))
    yield from (_chunk(recording[n : n + PIECE_BYTES]) for n in range(0, len(recording), PIECE_BYTES))
    yield from map(_chunk, (*after.splitlines(keepends=True), b""))


def _chunk(piece: bytes) -> bytes:
    return f"{len(piece):x}\r\n".encode() + piece + b"\r\n"
