"""How many connections the service holds, and of which clients."""

from dataclasses import dataclass

import pytest

from app.api.server import connection_limits
from app.api.server.connection_limits import ConnectionLimits, client_of
from app.process.open_files import MOST_CONNECTIONS, OWN_FILES, connections_within


@dataclass(eq=False)
class Connection:
    closed: bool = False

    def close_to_make_room(self) -> None:
        self.closed = True


@pytest.fixture(autouse=True)
def _idle_for_long_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_limits, "IDLE_SECONDS", 0.0)


def held(limits: ConnectionLimits, count: int, address: str, *, busy: bool = False) -> list[Connection]:
    connections = [Connection() for _ in range(count)]
    for connection in connections:
        assert limits.has_room(address)
        limits.add(connection, address)
        if busy:
            limits.mark_busy(connection)
    return connections


def test_the_longest_idle_connection_makes_room() -> None:
    limits = ConnectionLimits(4, 0)
    first, second = held(limits, 2, "192.0.2.1")
    held(limits, 2, "192.0.2.2", busy=True)
    limits.mark_busy(first)
    limits.mark_idle(first)
    held(limits, 1, "192.0.2.3")
    assert (first.closed, second.closed) == (False, True)


def test_a_client_at_its_limit_loses_only_its_own_idle_connections() -> None:
    limits = ConnectionLimits(100, 3)
    [other] = held(limits, 1, "192.0.2.9")
    own = held(limits, 5, "192.0.2.1")
    assert [connection.closed for connection in own] == [True, True, False, False, False]
    assert not other.closed


def test_a_new_connection_is_not_closed_to_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_limits, "IDLE_SECONDS", 60.0)
    limits = ConnectionLimits(4, 2)
    [one, _] = held(limits, 2, "192.0.2.1")
    assert not limits.has_room("192.0.2.1")
    assert not one.closed


def test_a_new_connection_is_refused_while_all_others_are_busy() -> None:
    limits = ConnectionLimits(4, 2)
    [one, _] = held(limits, 2, "192.0.2.1", busy=True)
    assert not limits.has_room("192.0.2.1")
    held(limits, 2, "192.0.2.2", busy=True)
    assert not limits.has_room("192.0.2.3")
    limits.remove(one)
    limits.remove(one)
    held(limits, 1, "192.0.2.1", busy=True)
    assert not limits.has_room("192.0.2.3")


def test_a_client_takes_at_most_half_of_the_connections_unless_it_is_a_proxy() -> None:
    assert ConnectionLimits(100, 512).most_per_client == 50
    assert ConnectionLimits(100, 0).most_per_client == 100


@pytest.mark.parametrize(
    ("address", "client"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
    ],
)
def test_all_addresses_that_a_client_can_choose_count_as_one_client(address: str, client: str) -> None:
    assert client_of(address) == client


@pytest.mark.parametrize(
    ("limit", "connections"),
    [(256, 64), (1024, (1024 - OWN_FILES) // 2), (20_000, 9744), (1_048_576, MOST_CONNECTIONS)],
)
def test_connections_leave_enough_open_files_for_the_service(limit: int, connections: int) -> None:
    assert connections_within(limit) == connections
