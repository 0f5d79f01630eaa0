"""The network guard decides to which hosts the URLs of clients may make the service connect.

Recordings, webhooks and callbacks all go through it. It resolves a name once for each connection. Every address has to
be public, or inside a network that the operator allows. Then it connects to exactly the address that it checked,
because a second look-up could return another one.
"""

import re
import socket
import ssl
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cache
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any

import httpx

from app.errors import FieldError, UrlNotAllowed
from app.network.dns import Address, Names
from app.network.exchange import DEFAULT_PORTS, ask
from app.network.pacing import Budget
from app.process.tasks import within

PORTS = frozenset({80, 443, 8080, 8443})
MAX_URL_CHARACTERS = 8192  # presigned URLs with session tokens have a few thousand
MAX_ADDRESSES = 4  # of one name; they are tried one after the other until one accepts the connection
HOST_NAME = re.compile(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*\.?")
MAX_HOST_CHARACTERS = 253

GLOBAL_UNICAST = ip_network("2000::/3")  # these are outside it: NAT64, mapped, compatible, site-local, multicast …
NEVER_PUBLIC = tuple(
    ip_network(text)
    for text in (
        "192.0.0.0/24",  # protocol assignments, some of which Python considers global
        "192.88.99.0/24",  # 6to4 relays
        "168.63.129.16/32",  # the host of Azure's virtual machines
        "2001::/23",  # protocol assignments: Teredo, ORCHID …
        "2002::/16",  # 6to4: contains any IPv4 address
        "3fff::/20",  # documentation
        "5f00::/16",  # segment routing
    )
)


class NetworkRefused(httpx.TransportError):
    """The guard refused to connect, and the message says why. Code that handles httpx's errors handles this one too."""


class NameNotFound(httpx.ConnectError):
    """The host name has no address."""


class NetworkGuard:
    """Checks URLs and addresses. The service may connect to the networks of `allowed` although they are not public.

    Inside these networks, `http://` and every port are allowed. Other addresses need `https://` and a port of `PORTS`.
    """

    def __init__(self, allowed: Sequence[IPv4Network | IPv6Network] = ()) -> None:
        self._allowed = tuple(allowed)
        self._names = Names()
        self.budget = Budget()

    def require_allowed(self, url: str, *, field: str = "url") -> None:
        """Raises UrlNotAllowed if the URL can be refused without a look-up of its host. The error names `field`."""
        try:
            self._check(_parsed(url))
        except NetworkRefused as refusal:
            wrong = (FieldError(field, str(refusal)),)
            raise UrlNotAllowed(f"The URL is not allowed: {refusal}.", errors=wrong) from None

    def client(self, *, timeout: httpx.Timeout, verify: ssl.SSLContext | None = None) -> httpx.AsyncClient:
        """Returns an HTTP client that checks every connection. The caller closes it.

        It follows no redirects and ignores proxies of the environment. Its requests raise NetworkRefused, NameNotFound
        or another httpx.TransportError. If `verify` is None, it trusts the public certificate authorities and those of
        the system.
        """
        tls = verify or trusted_authorities()
        tls.set_alpn_protocols(["http/1.1"])
        return CarefulClient(
            transport=_GuardedTransport(self, tls), timeout=timeout, follow_redirects=False, trust_env=False
        )

    async def resolve(self, url: httpx.URL) -> list[Address]:
        """Returns the addresses of the URL's host.

        Raises NameNotFound if it has none, and NetworkRefused unless all of them are allowed.
        """
        self._check(_parsed(str(url)))
        try:
            addresses = await self._names.look_up(_ascii_host(url))
        except (OSError, UnicodeError):
            raise NameNotFound("the host name has no address") from None
        if not addresses:
            raise NameNotFound("the host name has no address")
        self._check_addresses(url, addresses)
        return addresses

    def _check(self, url: httpx.URL) -> None:
        """Raises NetworkRefused if the URL can be refused without a look-up of its host."""
        if url.scheme not in ("http", "https"):
            raise NetworkRefused("its scheme must be https")
        if url.userinfo:
            raise NetworkRefused("it must not contain a user or a password")
        if url.port is not None and not 0 < url.port < 65536:
            raise NetworkRefused("its port does not exist")
        host = _ascii_host(url)
        address = _literal(host)
        if address is not None:
            self._check_addresses(url, [address])
        elif len(host) > MAX_HOST_CHARACTERS or not HOST_NAME.fullmatch(host):
            raise NetworkRefused("its host is not a name or an address")
        elif not self._allowed:
            _require_https_and_usual_port(url)

    def _check_addresses(self, url: httpx.URL, addresses: Sequence[Address]) -> None:
        """Raises NetworkRefused unless every address may be reached with the URL's scheme and port."""
        outside = [address for address in addresses if not self._is_allowed(address)]
        if not all(_is_public(address) for address in outside):
            raise NetworkRefused("its host is not on the public internet, nor in a network that the operator allows")
        if outside:
            _require_https_and_usual_port(url)

    def _is_allowed(self, address: Address) -> bool:
        return any(address in network for network in self._allowed)


class CarefulClient(httpx.AsyncClient):
    """Raises errors of httpx alone, whatever a server answers."""

    async def send(self, request: httpx.Request, **options: Any) -> httpx.Response:
        """Send a request. Malformed redirects and cookies raise httpx.RemoteProtocolError here.

        httpx reads them in every answer, and raises errors of other kinds for them.
        """
        try:
            return await super().send(request, **options)
        except (httpx.InvalidURL, ValueError) as error:
            raise httpx.RemoteProtocolError(f"the answer's headers cannot be read: {type(error).__name__}") from error


class _GuardedTransport(httpx.AsyncBaseTransport):
    """Sends each request to an address that the guard has checked. `Host` and TLS still have the name from the URL.

    Each request gets a new connection, so that the guard checks each of them.
    """

    def __init__(self, guard: NetworkGuard, tls: ssl.SSLContext) -> None:
        self._guard = guard
        self._tls = tls

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        seconds = request.extensions.get("timeout", {}).get("connect")
        try:
            addresses = await within(seconds, self._guard.resolve(request.url))
        except TimeoutError:
            raise httpx.ConnectTimeout("the host name was not resolved in time") from None
        *first, last = addresses[:MAX_ADDRESSES]
        for address in first:
            with suppress(httpx.ConnectError, httpx.ConnectTimeout):
                return await self._send(request, address)
        return await self._send(request, last)

    async def _send(self, request: httpx.Request, address: Address) -> httpx.Response:
        name = _ascii_host(request.url).rstrip(".")
        return await ask(request, address, name, self._tls, self._guard.budget)


@cache
def trusted_authorities() -> ssl.SSLContext:
    """Returns a context that trusts the public certificate authorities and those in the system's store."""
    context = httpx.create_ssl_context(trust_env=False)
    context.load_default_certs()
    return context


def host_of(url: str) -> str:
    """Returns the server of a URL as `name:port`, in the same way for all spellings of the name.

    The limits for each host count by it. A URL without a host gives its scheme, such as `file:`, so that it shares no
    limit with other schemes.
    """
    try:
        parsed = httpx.URL(url)
        host, port = _ascii_host(parsed).rstrip(".").lower(), parsed.port or DEFAULT_PORTS.get(parsed.scheme, 443)
    except (httpx.InvalidURL, ValueError):  # a request to it would fail anyway
        return url.partition("://")[2].partition("/")[0]
    if not host:
        return f"{parsed.scheme}:"
    address = _literal(host)
    mapped = getattr(address, "ipv4_mapped", None)
    return f"{mapped or address or host}:{port}"


def has_unfit_characters(url: str) -> bool:
    """Returns whether a URL has spaces, control characters or backslashes, because parsers disagree about those."""
    return any(character <= " " or character in "\x7f\\" for character in url)


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yields the error and the errors that caused it, because httpx's own errors say little."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _parsed(url: str) -> httpx.URL:
    if len(url) > MAX_URL_CHARACTERS:
        raise NetworkRefused(f"it may have at most {MAX_URL_CHARACTERS} characters")
    if has_unfit_characters(url):
        raise NetworkRefused("it must not contain spaces, control characters or backslashes")
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, ValueError):
        raise NetworkRefused("it is not a valid URL") from None
    if len(str(parsed)) > MAX_URL_CHARACTERS:
        raise NetworkRefused(f"it may have at most {MAX_URL_CHARACTERS} characters when percent-encoded")
    return parsed


def _ascii_host(url: httpx.URL) -> str:
    """Returns the host as the resolver needs it: in IDNA, and without the brackets of IPv6."""
    return url.raw_host.decode("ascii")


def _literal(host: str) -> Address | None:
    """Returns the address that `host` is, in any notation that a resolver accepts, or None if it is a name.

    An address with a zone (`%`) counts as a name, and is refused later.
    """
    if "%" in host:
        return None
    with suppress(ValueError):
        return ip_address(host)
    try:
        return IPv4Address(socket.inet_aton(host.rstrip(".")))
    except OSError:
        return None


def _require_https_and_usual_port(url: httpx.URL) -> None:
    if url.scheme != "https":
        raise NetworkRefused("its scheme must be https")
    if url.port is not None and url.port not in PORTS:
        raise NetworkRefused(f"its port must be one of {', '.join(map(str, sorted(PORTS)))}")


def _is_public(address: Address) -> bool:
    """Returns whether an address is public and not this machine's. `is_global` alone would allow tunnels."""
    if address.version == 6 and address not in GLOBAL_UNICAST:
        return False
    if not address.is_global or address.is_multicast or any(address in network for network in NEVER_PUBLIC):
        return False
    return not _is_own(address)


def _is_own(address: Address) -> bool:
    """Returns whether the address belongs to this machine.

    If so, the kernel would also send from it. Connecting a UDP socket shows that, and sends nothing.
    """
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect((str(address), 9))
        return ip_address(probe.getsockname()[0]) == address
    return False
