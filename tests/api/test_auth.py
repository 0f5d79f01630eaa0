"""Which clients are accepted, and that the service stores nothing of the others."""

import socket
from pathlib import Path

import pytest

from app.api.auth import is_loopback
from app.api.server.bodies import DRAIN_BYTES
from testing.forms import FORM_TYPE, file
from testing.service import Service, callscribe, eventually
from tests.conftest import ALICE, ALICE_NEW, BOB

NOBODY = "/v1/transcriptions/01989d2e-7c1b-7f9e-8a54-2f0f6f1f9c3e"
ROUTES = [
    ("POST", "/v1/transcriptions"),
    ("GET", "/v1/transcriptions"),
    ("GET", NOBODY),
    ("DELETE", NOBODY),
    ("POST", f"{NOBODY}/cancel"),
    ("GET", f"{NOBODY}/transcript"),
    ("GET", f"{NOBODY}/audio"),
    ("GET", "/v1/models"),
]


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_a_client_with_a_wrong_key_is_refused(guarded: Service, method: str, path: str) -> None:
    response = guarded.client.request(method, path, headers={"Authorization": "Bearer guess"})
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == "Bearer"
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.json()["code"] == "unauthorized"


@pytest.mark.parametrize("credentials", ["", "Bearer", f"Basic {ALICE}", ALICE, f"Bearer {ALICE} "[:-2]])
def test_malformed_credentials_are_refused(guarded: Service, credentials: str) -> None:
    assert guarded.client.get("/v1/models", headers={"Authorization": credentials}).status_code == 401


def test_a_request_without_the_header_is_refused(guarded: Service) -> None:
    request = guarded.client.build_request("GET", "/v1/models")
    del request.headers["Authorization"]
    assert guarded.client.send(request).status_code == 401


@pytest.mark.parametrize("key", [ALICE, ALICE_NEW, BOB])
def test_each_configured_key_is_accepted(guarded: Service, key: str) -> None:
    assert guarded.client.get("/v1/models", headers={"Authorization": f"Bearer {key}"}).status_code == 200


def test_the_keys_of_one_name_belong_to_the_same_caller(guarded: Service) -> None:
    """So a client can change to a new key at any time: it sees its jobs, and repeats its uploads, with both keys."""
    old, new, other = ({"Authorization": f"Bearer {key}"} for key in (ALICE, ALICE_NEW, BOB))
    first = guarded.post(headers={**old, "Idempotency-Key": "rotated"})
    again = guarded.post(headers={**new, "Idempotency-Key": "rotated"})
    assert (first.status_code, again.status_code) == (202, 200)
    assert again.json()["id"] == first.json()["id"]
    assert guarded.post(headers={**other, "Idempotency-Key": "rotated"}).json()["id"] != first.json()["id"]
    while (answer := guarded.post(headers=old)).status_code == 202:
        pass
    assert answer.json()["code"] == "queue_full"
    assert guarded.post(headers=new).json()["code"] == "queue_full"  # one limit holds for both keys
    eventually(lambda: guarded.log().count('"caller": "alice"') >= 3)


@pytest.mark.parametrize("path", ["/", "/healthz", "/readyz", "/docs", "/openapi.json"])
def test_some_paths_need_no_key(guarded: Service, path: str) -> None:
    assert guarded.client.get(path, headers={"Authorization": ""}).status_code == 200


def test_an_upload_without_a_key_is_not_stored(guarded: Service) -> None:
    """The service answers after 4 kB of ten gigabytes. It reads on for a while, but keeps nothing."""
    head = (
        "POST /v1/transcriptions HTTP/1.1\r\nHost: localhost\r\n"
        f"Content-Type: {FORM_TYPE}\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    with socket.create_connection(("127.0.0.1", guarded.port), timeout=30) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 0x10000)
        connection.sendall(head.encode() + b"1000\r\n" + file(b"y" * 0x1000)[:0x1000] + b"\r\n")
        answer = connection.recv(4096)
        sent = send_until_refused(connection, chunk, 10_000_000_000)
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert b"\r\nconnection: close\r\n" in answer.lower()
    assert sent < 2 * DRAIN_BYTES
    assert guarded.stored_files() == []


def send_until_refused(connection: socket.socket, chunk: bytes, most: int) -> int:
    sent = 0
    try:
        while sent < most:
            connection.sendall(chunk)
            sent += len(chunk)
    except ConnectionError:
        pass
    return sent


def test_keys_are_not_logged(guarded: Service) -> None:
    guarded.client.get("/v1/models", headers={"Authorization": "Bearer a-wrong-guess"})
    guarded.create()
    eventually(lambda: '"path": "/v1/models", "status": 401' in guarded.log())
    for secret in (ALICE, BOB, "a-wrong-guess"):
        assert secret not in guarded.log()


def test_a_service_without_keys_refuses_to_listen_on_all_addresses(tmp_path: Path) -> None:
    ended = callscribe("serve", "--host", "0.0.0.0", "--port", "0", folder=tmp_path)
    assert ended.returncode == 2
    reason = ended.stderr.splitlines()[-1]
    assert "CALLSCRIBE_API_KEYS" in reason
    assert "callscribe keys create" in reason
    assert "CALLSCRIBE_AUTH=off" in reason


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "[::]", "10.0.0.1", "::ffff:10.0.0.1", "2001:db8::1", "fe80::1%eth0", "example.com", ""]
)
def test_other_machines_may_reach_these_addresses(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.1.2.3", "::1", "[::1]", "::ffff:127.0.0.1", "localhost", "LOCALHOST"]
)
def test_only_this_machine_reaches_these_addresses(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "rebound.example"},
        {"Origin": "https://elsewhere.example"},
        {"Origin": "null"},
        {"Origin": "http://[::1"},
        {"Origin": "http://[zz]"},
        {"Host": "[1:2:3]"},
        {"Host": ""},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_no_other_site_can_use_a_service_without_keys_through_a_browser(
    service: Service, headers: dict[str, str]
) -> None:
    refused = service.client.get("/v1/transcriptions", headers=headers)
    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")


def test_its_own_pages_can_use_a_service_without_keys(service: Service) -> None:
    own = {"Origin": service.url, "Sec-Fetch-Site": "same-origin"}
    assert service.client.get("/v1/transcriptions", headers=own).status_code == 200
