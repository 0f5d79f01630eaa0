"""Limits how many connections the process holds, in all and for each client's address.

At a limit, the connection that has had no request for longest is closed for the new one, if that is a second or more.
So silent connections keep no client out. This module knows addresses and connections, and must not know HTTP.
"""

import ipaddress
import time
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol

import structlog

IPV6_PREFIX = 64  # the network of one subscriber
IDLE_SECONDS = 1.0  # then it may be closed for another; a request may still be on its way to a younger one
LOG_SECONDS = 60.0

log = structlog.stdlib.get_logger("callscribe.http")


class Held(Protocol):
    """A connection that can be closed to make room."""

    def give_up(self) -> None: ...


@dataclass
class _Client:
    """The connections of one address. `idle` has those without a request and since when, the longest idle first."""

    connections: int = 0
    idle: dict[Held, float] = field(default_factory=dict)


class Admission:
    """Holds up to `most` connections, and up to `most_per_client` of one address. 0 means any number.

    Otherwise no address holds more than half of `most`.
    """

    def __init__(self, most: int, most_per_client: int) -> None:
        self.most = most
        self.most_per_client = min(most_per_client, most // 2) if most_per_client else most
        self._clients: dict[str, _Client] = {}
        self._names: dict[Held, str] = {}
        self._idle: dict[Held, float] = {}
        self._refused, self._logged_at = 0, -LOG_SECONDS

    def has_room(self, address: str) -> bool:
        """Whether one more connection of this address can be held. An idle connection may be closed for it."""
        name = client_of(address)
        client = self._clients.get(name)
        if client is not None and client.connections >= self.most_per_client and not self._give_up_one(client.idle):
            return self._refuse(name, client.connections, self.most_per_client)
        if len(self._names) >= self.most and not self._give_up_one(self._idle):
            return self._refuse(name, len(self._names), self.most)
        return True

    def hold(self, connection: Held, address: str) -> None:
        """Count the connection until `leave`."""
        name = client_of(address)
        self._names[connection] = name
        self._clients.setdefault(name, _Client()).connections += 1
        self.idle(connection)

    def idle(self, connection: Held) -> None:
        """The connection has no request."""
        if (name := self._names.get(connection)) is not None:
            self._idle[connection] = self._clients[name].idle[connection] = time.monotonic()

    def busy(self, connection: Held) -> None:
        """The connection has a request, so it is not closed to make room."""
        if (name := self._names.get(connection)) is not None:
            self._idle.pop(connection, None)
            self._clients[name].idle.pop(connection, None)

    def leave(self, connection: Held) -> None:
        """The connection has ended. Does nothing if it was given up or was never held."""
        if (name := self._names.get(connection)) is None:
            return
        self.busy(connection)
        del self._names[connection]
        client = self._clients[name]
        client.connections -= 1
        if not client.connections:
            del self._clients[name]

    def _give_up_one(self, idle: dict[Held, float]) -> bool:
        for longest_idle, since in idle.items():
            if time.monotonic() - since < IDLE_SECONDS:
                return False
            self.leave(longest_idle)
            longest_idle.give_up()
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
    """One name for all addresses that one client may choose from: an IPv4 address, or a /64 of IPv6."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed, IPV6_PREFIX), strict=False))
