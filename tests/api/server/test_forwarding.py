"""Whose word is taken for the address of a client, and what follows from it."""

from collections.abc import AsyncIterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from app.api.server.connection_limits import ConnectionLimits
from app.api.server.forwarding import Proxies
from app.database.connections import Database
from testing.listening import Listening, listening
from testing.service import Service, eventually

NETWORKS = tuple(ip_network(network) for network in ("10.0.0.0/8", "2001:db8::/32"))


def applied(proxies: Proxies, peer: str, *headers: tuple[str, str]) -> dict[str, Any]:
    sent = [(name.lower().encode(), value.encode("latin-1")) for name, value in [("Host", "inner:8000"), *headers]]
    scope: dict[str, Any] = {"client": (peer, 4711), "scheme": "http", "headers": sent, "state": {}}
    proxies.apply(scope)
    return scope


def client(peer: str, *forwarded: str) -> str:
    return str(applied(Proxies(NETWORKS), peer, *(("X-Forwarded-For", value) for value in forwarded))["client"][0])


@pytest.mark.parametrize(
    ("peer", "forwarded", "seen"),
    [
        ("10.1.1.1", ["203.0.113.7"], "203.0.113.7"),
        ("10.1.1.1", [], "10.1.1.1"),
        ("::ffff:10.1.1.1", ["203.0.113.7"], "203.0.113.7"),
        ("2001:db8::9", ["2a00::7"], "2a00::7"),
        ("10.1.1.1", ["203.0.113.7, 10.2.2.2"], "203.0.113.7"),
        ("10.1.1.1", ["203.0.113.7", "10.2.2.2"], "203.0.113.7"),
        ("10.1.1.1", ["127.0.0.1, 203.0.113.7"], "203.0.113.7"),  # the client has invented the first one
        ("10.1.1.1", ["10.3.3.3, 203.0.113.7, 10.2.2.2"], "203.0.113.7"),
        ("10.1.1.1", ["10.3.3.3, 10.2.2.2"], "10.3.3.3"),
        ("10.1.1.1", ["203.0.113.7:51000"], "203.0.113.7"),
        ("10.1.1.1", ["[2a00::7]:51000"], "2a00::7"),
        ("10.1.1.1", ["127.0.0.1, unknown"], "unknown"),
        ("10.1.1.1", ["127.0.0.1, _hidden"], "unknown"),
        ("10.1.1.1", ["127.0.0.1, "], "unknown"),
        ("10.1.1.1", [""], "unknown"),
        ("10.1.1.1", ["é" * 1000], "unknown"),
        ("203.0.113.9", ["127.0.0.1"], "203.0.113.9"),
        ("127.0.0.1", ["203.0.113.7"], "127.0.0.1"),  # not among the networks that the operator named
    ],
)
def test_the_client_is_the_last_address_that_no_trusted_proxy_has(peer: str, forwarded: list[str], seen: str) -> None:
    assert client(peer, *forwarded) == seen


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"])
def test_only_this_machine_is_trusted_unless_the_operator_names_proxies(peer: str) -> None:
    forwarded = ("X-Forwarded-For", "203.0.113.7")
    assert applied(Proxies(), peer, forwarded)["client"][0] == "203.0.113.7"
    assert applied(Proxies(), "10.1.1.1", forwarded)["client"][0] == "10.1.1.1"


@pytest.mark.parametrize(
    ("headers", "scheme", "host"),
    [
        ([("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "calls.example")], "https", "calls.example"),
        ([("X-Forwarded-Proto", "javascript"), ("X-Forwarded-Host", "a b")], "http", "inner:8000"),
        ([("X-Forwarded-Proto", "https, http"), ("X-Forwarded-Host", "")], "http", "inner:8000"),
        ([("X-Forwarded-Host", "one.example"), ("X-Forwarded-Host", "two.example")], "http", "inner:8000"),
    ],
)
def test_scheme_and_host_are_taken_if_they_are_valid(headers: list[tuple[str, str]], scheme: str, host: str) -> None:
    scope = applied(Proxies(NETWORKS), "10.1.1.1", *headers)
    assert scope["scheme"] == scheme
    assert [value for name, value in scope["headers"] if name == b"host"] == [host.encode()]
    assert applied(Proxies(NETWORKS), "203.0.113.9", *headers)["headers"][0] == (b"host", b"inner:8000")


def test_a_named_proxy_may_hold_any_number_of_connections_and_no_other_client() -> None:
    class Connection:
        def close_to_make_room(self) -> None:
            raise AssertionError

    limits = ConnectionLimits(100, 2, Proxies(NETWORKS).may_hold_any_number)
    for address in ("10.1.1.1", "203.0.113.9"):
        for _ in range(2):
            limits.add(Connection(), address)
    assert limits.has_room("10.1.1.1")
    assert not limits.has_room("203.0.113.9")
    assert not Proxies().may_hold_any_number("127.0.0.1")  # the setting's default changes no limit


@pytest.fixture
async def keyless(database: Database, tmp_path: Path) -> AsyncIterator[Listening]:
    async with listening(database, tmp_path) as service:
        yield service


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"X-Forwarded-For": "127.0.0.1"}, 200),
        ({"X-Forwarded-For": "203.0.113.7"}, 403),
        ({"X-Forwarded-For": "unknown"}, 403),
        ({"X-Forwarded-For": "127.0.0.1, 203.0.113.7"}, 403),
        ({"X-Forwarded-Host": "calls.example"}, 403),
        ({"Host": "rebound.example", "X-Forwarded-Host": "localhost"}, 403),  # a page can send the second one
    ],
)
async def test_without_keys_a_proxy_on_this_machine_opens_the_service_to_no_other(
    keyless: Listening, headers: dict[str, str], status: int
) -> None:
    answer = await keyless.client.get("/v1/transcriptions", headers=headers)
    assert answer.status_code == status, answer.text


def test_the_request_log_has_the_client_and_not_the_proxy(guarded: Service) -> None:
    headers = {"X-Forwarded-For": "203.0.113.77", "Authorization": "Bearer guess"}
    assert guarded.client.get("/v1/models", headers=headers).status_code == 401
    eventually(lambda: '"client": "203.0.113.77"' in guarded.log())
