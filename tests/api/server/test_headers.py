"""The headers of requests, and the headers that every answer has."""

import socket
import struct
from pathlib import Path

import pytest

from testing.recordings import tone
from testing.service import Service, eventually, serving
from tests.conftest import ALICE

NOBODY = "/v1/transcriptions/01989d2e-7c1b-7f9e-8a54-2f0f6f1f9c3e"


def answer(port: int, *headers: str, version: str = "1.1") -> str:
    """The answer to a request with these headers and no other."""
    lines = [f"GET /healthz HTTP/{version}", *headers, "Connection: close", "", ""]
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall("\r\n".join(lines).encode("latin-1"))
        return b"".join(iter(lambda: connection.recv(4096), b"")).decode()


@pytest.mark.parametrize(
    "headers",
    [(), ("Host: one", "Host: two"), ("Host: [::1",), ("Host: [zz]",), ("Host: a b",), ("Host: a@b",), ("Host: é",)],
    ids=lambda headers: " ".join(headers) or "none",
)
def test_a_missing_malformed_or_repeated_host_is_a_bad_request(guarded: Service, headers: tuple[str, ...]) -> None:
    answered = answer(guarded.port, *headers)
    assert answered.startswith("HTTP/1.1 400 ")
    assert '"code":"bad_request"' in answered


@pytest.mark.parametrize("host", ["callscribe", "calls.example:8000", "[::1]:8000", "192.0.2.7", "", "a_b"])
def test_a_request_with_a_valid_host_is_answered(guarded: Service, host: str) -> None:
    assert answer(guarded.port, f"Host: {host}").startswith("HTTP/1.1 200 ")


def test_clients_of_http_1_0_need_no_host(guarded: Service) -> None:
    assert answer(guarded.port, version="1.0").startswith("HTTP/1.1 200 ")


def test_a_client_that_offers_http_2_is_answered_in_http_1(guarded: Service) -> None:
    """Java's client offers it with each request."""
    headers = ("Host: here", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk")
    assert answer(guarded.port, *headers).startswith("HTTP/1.1 200 ")


@pytest.mark.parametrize("key", [f"Bearer {ALICE}", "Bearer guess"])
@pytest.mark.parametrize("path", ["/v1/transcriptions", "/v1/models", NOBODY, f"{NOBODY}/transcript", "/v1/none"])
def test_answers_that_need_a_key_are_not_cached(guarded: Service, path: str, key: str) -> None:
    headers = guarded.client.get(path, headers={"Authorization": key}).headers
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"


def test_clients_that_hang_up_leave_no_traceback(workspace: Path, guarded_database: str) -> None:
    host = "Host: here\r\nAuthorization: Bearer " + ALICE
    requests = [
        f"GET /docs/static/swagger-ui-bundle.js HTTP/1.1\r\n{host}\r\n\r\n" * 10,
        f"GET {NOBODY}?wait=60 HTTP/1.1\r\n{host}\r\n\r\n" * 3,
        f"GET /v1/transcriptions HTTP/1.1\r\n{host}\r\n\r\n" * 5,
        f"POST /v1/transcriptions HTTP/1.1\r\n{host}\r\nContent-Length: 1000\r\nContent-Type: application/json\r\n\r\n",
    ]
    settings = {"DATABASE_URL": guarded_database, "API_KEYS": f"alice:{ALICE}"}
    with serving(workspace / "hangups", "--no-executor", key=ALICE, **settings) as service:
        for request in requests * 10:
            with socket.create_connection(("127.0.0.1", service.port)) as connection:
                connection.setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                )  # closing it sends a reset
                connection.sendall(request.encode())
        eventually(lambda: '"status": 499' in service.log())
        assert service.post(tone()).status_code == 202
        assert "exception" not in service.log()
        assert "Traceback" not in service.log()
