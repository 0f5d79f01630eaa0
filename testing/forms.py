"""Builds multipart bodies by hand, so that tests can send invalid ones, and checks the refusals."""

from collections.abc import Iterator
from typing import Any

import httpx

from testing.recordings import tone
from testing.service import Service

BOUNDARY = "----boundary"
FORM_TYPE = f"multipart/form-data; boundary={BOUNDARY}"
END = f"--{BOUNDARY}--\r\n".encode()


def field(name: str, value: str | bytes) -> bytes:
    content = value.encode() if isinstance(value, str) else value
    return f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'.encode() + content + b"\r\n"


def part(disposition: str | bytes, content: bytes = b"", *headers: str) -> bytes:
    """Returns a part of a form with a `Content-Disposition` as a client writes it, and other headers."""
    written = disposition.encode() if isinstance(disposition, str) else disposition
    more = "".join(f"\r\n{header}" for header in headers).encode()
    return (
        b"--" + BOUNDARY.encode() + b"\r\nContent-Disposition: form-data; " + written + more + b"\r\n\r\n" + content
    ) + b"\r\n"


def file(content: bytes | None = None, name: str = "call.wav") -> bytes:
    """Returns the part `file` of a form. Its content is a short tone unless a test gives another one."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'
    return head.encode() + (tone() if content is None else content) + b"\r\n"


def refused(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """Checks a refusal's status, code and content type. Returns the problem document."""
    problem: dict[str, Any] = response.json()
    assert (response.status_code, problem["code"]) == (status, code), problem
    assert response.headers["Content-Type"] == "application/problem+json"
    return problem


def post_body(service: Service, content: bytes | Iterator[bytes], content_type: str = FORM_TYPE) -> httpx.Response:
    return service.client.post("/v1/transcriptions", content=content, headers={"Content-Type": content_type})
