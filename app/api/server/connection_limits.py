"""Limits how many connections the process has, in all and for each client's address.

When a limit is reached, a new connection takes the place of the one that has had no request for the longest time,
unless that is less than a second. So clients that connect and stay silent do not keep other clients out.
"""

import ipaddress
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol

import structlog

IPV6_PREFIX = 64  # the network of one subscriber
IDLE_SECONDS = 1.0  # the first request of a younger connection may still be on its way, so it is not closed
LOG_SECONDS = 60.0

log = structlog.stdlib.get_logger("callscribe.http")


class Closable(Protocol):
    """A connection that can be closed so that another one has room."""

    def close_to_make_room(self) -> None: ...


@dataclass
class _Client:
    """The connections of one client. `idle` maps those without a request to the time since when, oldest first."""

    connections: int = 0
    idle: dict[Closable, float] = field(default_factory=dict)


class ConnectionLimits:
    """Allows `most` connections in all, and `most_per_client` for each client, but not more than half of `most`.

    If `most_per_client` is 0, one client may have all connections, and so may an address for which `is_many_clients`
    returns true.
    """

    def __init__(
        self, most: int, most_per_client: int, is_many_clients: Callable[[str], bool] = lambda _: False
    ) -> None:
        self.most = most
        self.most_per_client = min(most_per_client, most // 2) if most_per_client else most
        self._is_many_clients = is_many_clients
        self._clients: dict[str, _Client] = {}
        self._names: dict[Closable, str] = {}
        self._idle: dict[Closable, float] = {}
        self._refused, self._logged_at = 0, -LOG_SECONDS

    def has_room(self, address: str) -> bool:
        """Returns whether this address may have one more connection. At a limit, it closes an idle one to make room."""
        name = client_of(address)
        client = self._clients.get(name)
        is_full = client is not None and client.connections >= self.most_per_client
        if client is not None and is_full and not self._is_many_clients(address) and not self._close_one(client.idle):
            return self._refuse(name, client.connections, self.most_per_client)
        if len(self._names) >= self.most and not self._close_one(self._idle):
            return self._refuse(name, len(self._names), self.most)
        return True

    def add(self, connection: Closable, address: str) -> None:
        """Counts the connection until `remove`. The connection is idle at first."""
        name = client_of(address)
        self._names[connection] = name
        self._clients.setdefault(name, _Client()).connections += 1
        self.mark_idle(connection)

    def mark_idle(self, connection: Closable) -> None:
        """Records that the connection has no request, so that it may be closed to make room."""
        if (name := self._names.get(connection)) is not None:
            self._idle[connection] = self._clients[name].idle[connection] = time.monotonic()

    def mark_busy(self, connection: Closable) -> None:
        """Records that the connection has a request, so that it is not closed to make room."""
        if (name := self._names.get(connection)) is not None:
            self._idle.pop(connection, None)
            self._clients[name].idle.pop(connection, None)

    def remove(self, connection: Closable) -> None:
        """Stops counting the connection. Does nothing if it was already removed."""
        if (name := self._names.get(connection)) is None:
            return
        self.mark_busy(connection)
        del self._names[connection]
        client = self._clients[name]
        client.connections -= 1
        if not client.connections:
            del self._clients[name]

    def _close_one(self, idle: dict[Closable, float]) -> bool:
        for longest_idle, since in idle.items():
            if time.monotonic() - since < IDLE_SECONDS:
                return False
            self.remove(longest_idle)
            longest_idle.close_to_make_room()
            return True
        return False

    def _refuse(self, name: str, held: int, most: int) -> bool:
        self._refused += 1
        if time.monotonic() - self._logged_at >= LOG_SECONDS:
            log.warning("connections refused", refused=self._refused, last_client=name, held=held, most=most)
            self._refused, self._logged_at = 0, time.monotonic()
        return False


@lru_cache(maxsize=4096)
def client_of(address: str) -> str:
    """Returns the name under which the connections and requests of an address are counted.

    For IPv4 it is the address. For IPv6 it is the /64 network, because one client can use every address of its network.
    """
    try:
        parsed = parse_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    return str(ipaddress.ip_network((parsed, IPV6_PREFIX), strict=False))


def parse_address(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Returns the address without its zone. Raises ValueError if it is none.

    A socket for both families shows IPv4 clients as IPv4-mapped IPv6 addresses. For these, it returns the IPv4 address.
    """
    parsed = ipaddress.ip_address(address.partition("%")[0])
    return getattr(parsed, "ipv4_mapped", None) or parsed
