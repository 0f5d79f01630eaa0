"""Believes what trusted proxies say of a request: the address of its client, its scheme and its host.

Anybody can send such headers, so those of other addresses are ignored. This happens before the request waits for its
place, so that the clients of a proxy wait beside each other, and not all in one queue.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

from starlette.types import Scope

from app.api.server.connection_limits import parse_address
from app.api.server.headers import HOST

Networks = Sequence[IPv4Network | IPv6Network]
THIS_MACHINE = (ip_network("127.0.0.0/8"), ip_network("::1"))
UNKNOWN = "unknown"
SENT_HOST = "sent_host"
"""In the state of a request whose host was replaced: the host that the sender gave, proxy or not."""
FOR, PROTO, FORWARDED_HOST = b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host"
NAMES = frozenset({FOR, PROTO, FORWARDED_HOST})


class Proxies:
    """The networks of trusted proxies. If the operator names none, only this machine is trusted.

    A proxy that the operator names may hold any number of connections, because they are those of many clients.
    """

    def __init__(self, networks: Networks | None = None) -> None:
        self._networks: Networks = THIS_MACHINE if networks is None else tuple(networks)
        self._are_named = networks is not None
        self._trusts = lru_cache(maxsize=1024)(self._is_in_a_network)

    def may_hold_any_number(self, address: str) -> bool:
        """Returns whether the connections of this address do not count as those of one client."""
        return self._are_named and self._trusts(address)

    def apply(self, scope: Scope) -> None:
        """Writes into the scope what the proxy says of the request, if its address is trusted."""
        sent = [(name, value.decode("latin-1")) for name, value in scope["headers"] if name in NAMES]
        if not sent or scope["client"] is None or not self._trusts(scope["client"][0]):
            return
        if any(name == FOR for name, _ in sent):
            scope["client"] = (self._client([text for name, text in sent if name == FOR]), 0)
        schemes = [text.strip().lower() for name, text in sent if name == PROTO]
        if len(schemes) == 1 and schemes[0] in ("http", "https"):
            scope["scheme"] = schemes[0].replace("http", "ws") if scope.get("type") == "websocket" else schemes[0]
        hosts = [text.strip() for name, text in sent if name == FORWARDED_HOST]
        if len(hosts) == 1 and hosts[0] and HOST.fullmatch(hosts[0]):
            _replace_host(scope, hosts[0])

    def _client(self, sent: Sequence[str]) -> str:
        """Returns the last address that no trusted proxy has, because what stands before it may be invented.

        Returns UNKNOWN if that is no address. If all of them are trusted proxies, the first one is the client.
        """
        address = UNKNOWN
        for text in _from_the_last(sent):
            address = text
            if not self._trusts(address):
                break
        return address if _parsed(address) else UNKNOWN

    def _is_in_a_network(self, address: str) -> bool:
        parsed = _parsed(address)
        return parsed is not None and any(parsed in network for network in self._networks)


def _from_the_last(sent: Sequence[str]) -> Iterator[str]:
    """Gives the addresses without their ports, beginning with the one that the nearest proxy has added."""
    for text in reversed([part.strip() for value in sent for part in value.split(",")]):
        if text.startswith("["):
            yield text[1:].partition("]")[0]
        else:
            yield text.partition(":")[0] if text.count(":") == 1 else text


def _parsed(address: str) -> IPv4Address | IPv6Address | None:
    try:
        return parse_address(address)
    except ValueError:
        return None


def _replace_host(scope: Scope, host: str) -> None:
    sent = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
    if len(sent) != 1:  # it is refused later
        return
    scope["state"][SENT_HOST] = sent[0]
    kept = [header for header in scope["headers"] if header[0] != b"host"]
    scope["headers"] = [(b"host", host.encode("latin-1")), *kept]
