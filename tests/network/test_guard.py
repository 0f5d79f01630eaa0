"""The network guard. The tests watch the process's sockets, to see that it never connects to a refused host."""

import asyncio
import socket
import ssl
import sys
import threading
from collections.abc import Callable, Iterator
from ipaddress import ip_address, ip_network
from typing import Any

import httpx
import pytest
import trustme

from app.errors import UrlNotAllowed
from app.network import guard as guard_module
from app.network.guard import NameNotFound, NetworkGuard, NetworkRefused
from testing.origin import Exchange, Origin, answering

TIMEOUT = httpx.Timeout(10)
LOOPBACK = ip_network("127.0.0.0/8")
PUBLIC, OTHER_PUBLIC = "93.184.215.14", "2606:4700::1111"
REBINDS = 1000

LITERALS = """
127.0.0.1 127.0.0.1. 127.1 127.0.1 127.255.255.254 2130706433 0x7f000001 0x7F.0x0.0x0.0x1 0x7f.1 0177.0.0.1 0177.1
017700000001 127.0.0x1 127.0.0.01 00000177.0.0.1 0 0.0.0.0 0x0 0.1 10.0.0.1 10.1 167772161 0xa000001 012.0.0.1
172.16.0.1 172.31.255.255 0xac100001 192.168.0.1 192.168.1 3232235521 0300.0250.0.1 100.64.0.1 169.254.169.254
2852039166 0xa9fea9fe 0251.0376.0251.0376 169.254.43518 168.63.129.16 2822734096 192.0.0.192 192.0.0.9 192.0.2.1
192.88.99.1 198.18.0.1 198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.250 240.0.0.1 255.255.255.255 4294967295
127。0。0。1 127｡0｡0｡1 127．0．0．1
[::1] [0:0:0:0:0:0:0:1] [::] [::127.0.0.1] [::ffff:127.0.0.1] [::ffff:7f00:1] [::ffff:0:127.0.0.1] [::ffff:8.8.8.8]
[64:ff9b::127.0.0.1] [64:ff9b::7f00:1] [64:ff9b::8.8.8.8] [64:ff9b:1::1] [2002:7f00:1::] [2002:a00:1::1]
[2001:0:4136:e378:8000:63bf:3fff:fdd2] [2001:20::1] [2001:db8::1] [3fff::1] [fc00::1] [fd00:ec2::254] [fe80::1]
[fe80::1%25eth0] [fe80::1%eth0] [2606:4700::1111%25lo] [fec0::1] [ff02::1] [100::1] [5f00::1]
１２７.０.０.１ ①②⑦.⓪.⓪.① 127%2e0.0.1 127.0.0.1%00 127.0.0.1%20.example.com
""".split()
MALFORMED = [
    "ftp://example.com/a",
    "file:///etc/passwd",
    "s3://bucket/key",
    "//example.com/a",
    "example.com/a",
    "",
    "https://",
    "https:///a",
    "https://user@example.com/a",
    "https://user:password@example.com/a",
    "https://:@example.com/a",
    "https://example.com:22/a",
    "https://example.com:0/a",
    "https://example.com:65616/a",
    "https://example.com:x/a",
    "https://example.com/\n",
    "https://example.com\t/a",
    "https://exa mple.com/",
    "https://example.com\\@127.0.0.1/",
    "https://example..com/",
    "https://[::1/",
    "https://[v1.a]/",
    "https://" + "a." * 127 + "example/",
    "https://" + "a" * 64 + ".example/",
    "https://example.com/" + "a" * guard_module.MAX_URL_CHARACTERS,
    "http://example.com/a",
    f"http://{PUBLIC}/a",
]


class Watch:
    """Records the TCP connections that this process tries to open, and blocks those to other machines."""

    def __init__(self) -> None:
        self.tried: list[str] | None = None
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: Any) -> None:
        if event == "socket.connect" and self.tried is not None and arguments[0].type == socket.SOCK_STREAM:
            host = arguments[1][0]
            self.tried.append(host)
            if host != "127.0.0.1":
                raise ConnectionRefusedError


WATCH = Watch()  # an audit hook cannot be removed


@pytest.fixture
def tried() -> Iterator[list[str]]:
    """The addresses that TCP connections were tried to."""
    WATCH.tried = []
    yield WATCH.tried
    WATCH.tried = None


@pytest.fixture
def resolve(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[str], list[str]]], None]:
    """Replace the resolver of the process by a function from a host name to its addresses."""

    def install(answer: Callable[[str], list[str]]) -> None:
        def getaddrinfo(host: Any, port: Any, *_: Any, **__: Any) -> list[Any]:
            return [
                (socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
                for address in answer(host)
            ]

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)

    return install


@pytest.fixture
def origin() -> Iterator[Origin]:
    with answering() as origin:
        origin.answers["/"] = lambda exchange: exchange.whole(b"hello")
        yield origin


async def test_no_notation_of_a_private_address_leads_to_a_connection(tried: list[str]) -> None:
    guard = NetworkGuard()
    async with guard.client(timeout=TIMEOUT) as client:
        for host in LITERALS:
            for url in (f"https://{host}/", f"http://{host}/", f"https://{host}:8443/"):
                with pytest.raises(UrlNotAllowed):
                    guard.require_allowed(url)
                with pytest.raises((NetworkRefused, httpx.InvalidURL)):
                    await client.get(url)
    assert tried == []
    assert len(LITERALS) >= 60


@pytest.mark.parametrize("url", MALFORMED)
def test_an_unusable_url_is_refused_immediately_with_the_name_of_its_field(url: str) -> None:
    with pytest.raises(UrlNotAllowed) as refusal:
        NetworkGuard().require_allowed(url, field="webhook_url")
    assert [error.field for error in refusal.value.errors] == ["webhook_url"]
    assert "password" not in refusal.value.detail.removesuffix("it must not contain a user or a password.")


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com",
        "https://example.com./call.wav?token=a%20b#there",
        "https://EXAMPLE.com:8443/",
        "https://example.com:80/",
        "https://münchen.example/",
        "https://xn--mnchen-3ya.example/",
        f"https://{PUBLIC}/",
        f"https://[{OTHER_PUBLIC}]:8080/",
        "https://my_bucket.example.com/",
    ],
)
def test_public_hosts_are_allowed(url: str) -> None:
    NetworkGuard().require_allowed(url)


def test_only_networks_that_the_operator_allows_may_be_private_or_without_tls() -> None:
    guard = NetworkGuard([LOOPBACK, ip_network("fd00::/8")])
    for url in ("http://127.0.0.1:9000/", "https://127.1:1/", "http://[fd00::7]/", "http://store.internal:9000/"):
        guard.require_allowed(url)
    for url in ("http://10.0.0.1/", "https://[::1]/", "https://[::ffff:127.0.0.1]/", f"http://{PUBLIC}/"):
        with pytest.raises(UrlNotAllowed):
            guard.require_allowed(url)


@pytest.mark.parametrize(
    ("url", "addresses"),
    [
        ("https://name.example/", ["10.0.0.1"]),
        ("https://name.example/", [PUBLIC, "10.0.0.1"]),
        ("https://name.example/", [OTHER_PUBLIC, PUBLIC, "::1"]),
        ("https://name.example/", [PUBLIC, "fe80::1%2"]),
        ("http://name.example/", [PUBLIC]),
        ("http://name.example/", ["127.0.0.1", PUBLIC]),
        ("https://name.example:9000/", [PUBLIC]),
    ],
)
async def test_a_name_is_refused_if_any_of_its_addresses_is(
    resolve: Any, tried: list[str], url: str, addresses: list[str]
) -> None:
    resolve(lambda host: addresses)
    async with NetworkGuard([LOOPBACK]).client(timeout=TIMEOUT) as client:
        with pytest.raises(NetworkRefused):
            await client.get(url)
    assert tried == []


async def test_a_name_that_becomes_private_after_its_look_up_leads_to_no_private_connection(
    resolve: Any, tried: list[str]
) -> None:
    asked: dict[str, int] = {}

    def rebinding(host: str) -> list[str]:
        asked[host] = asked.get(host, 0) + 1
        return [PUBLIC] if asked[host] == 1 else ["127.0.0.1", "169.254.169.254"]

    resolve(rebinding)
    async with NetworkGuard().client(timeout=TIMEOUT) as client:
        for start in range(0, REBINDS, 20):
            urls = [f"https://rebind-{number}.example/" for number in range(start, start + 20)]
            first = await asyncio.gather(*map(client.get, urls), return_exceptions=True)
            second = await asyncio.gather(*map(client.get, urls), return_exceptions=True)
            assert {type(end) for end in first} == {httpx.ConnectError}
            assert {type(end) for end in second} == {NetworkRefused}
    assert tried == [PUBLIC] * REBINDS
    assert set(asked.values()) == {2}


async def test_the_next_address_is_tried_if_one_refuses_the_connection(
    resolve: Any, tried: list[str], origin: Origin
) -> None:
    resolve(lambda host: [PUBLIC, OTHER_PUBLIC])
    async with NetworkGuard().client(timeout=TIMEOUT) as client:
        with pytest.raises(httpx.ConnectError):
            await client.get("https://two.example/")
    assert tried == [PUBLIC, OTHER_PUBLIC]


async def test_a_public_address_of_this_machine_is_refused(monkeypatch: pytest.MonkeyPatch, tried: list[str]) -> None:
    monkeypatch.setattr(guard_module, "_is_own", lambda address: address == ip_address(PUBLIC))
    with pytest.raises(UrlNotAllowed):
        NetworkGuard().require_allowed(f"https://{PUBLIC}/")
    NetworkGuard().require_allowed("https://8.8.8.8/")


def test_the_kernel_knows_the_addresses_of_this_machine() -> None:
    assert guard_module._is_own(ip_address("127.0.0.1"))
    assert not guard_module._is_own(ip_address(PUBLIC))
    assert not guard_module._is_own(ip_address(OTHER_PUBLIC))


async def test_a_name_without_an_address_is_reported(resolve: Any) -> None:
    def nothing(host: str) -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    resolve(nothing)
    async with NetworkGuard().client(timeout=TIMEOUT) as client:
        with pytest.raises(NameNotFound):
            await client.get("https://nowhere.example/")


async def test_names_whose_servers_hang_do_not_delay_other_names(resolve: Any, tried: list[str]) -> None:
    go_on = threading.Event()
    asked: list[str] = []

    def answer(host: str) -> list[str]:
        asked.append(host)
        if host.startswith("mute"):
            go_on.wait(60)
        return [PUBLIC]

    resolve(answer)
    mute = [f"https://mute-{number % 40}.example/" for number in range(200)]
    try:
        async with NetworkGuard().client(timeout=httpx.Timeout(10, connect=0.5)) as client:
            ends = await asyncio.gather(*map(client.get, mute), return_exceptions=True)
            assert {type(end) for end in ends} == {httpx.ConnectTimeout}
        async with NetworkGuard().client(timeout=TIMEOUT) as client:
            waiting = [asyncio.create_task(client.get(url)) for url in mute]
            with pytest.raises(httpx.ConnectError):
                await client.get("https://answers.example/")
            for each in waiting:
                each.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
    finally:
        go_on.set()
    assert tried == [PUBLIC]
    assert max(asked.count(host) for host in asked) <= 4  # two by each guard


async def test_redirects_and_proxies_of_the_environment_are_not_followed(
    monkeypatch: pytest.MonkeyPatch, tried: list[str], origin: Origin
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    origin.answers["/away"] = lambda exchange: exchange.whole(b"", 302, Location="http://10.0.0.1/")
    async with NetworkGuard([LOOPBACK]).client(timeout=TIMEOUT) as client:
        assert (await client.get(origin.url("/away"))).status_code == 302
        assert (await client.get(origin.url("/"))).text == "hello"
    assert tried == ["127.0.0.1", "127.0.0.1"]


async def test_the_certificate_is_checked_for_the_name_and_connections_are_not_shared_by_names(resolve: Any) -> None:
    authority = trustme.CA()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("calls.example").configure_cert(tls)
    names: list[str | None] = []
    tls.sni_callback = lambda _, name, __: names.append(name)
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    hosts: list[tuple[str, Any]] = []

    def answer(exchange: Exchange) -> None:
        hosts.append((exchange.headers["Host"], exchange.client_address))
        exchange.close_connection = False
        exchange.whole(b"hello")

    resolve(lambda host: ["127.0.0.1"])
    guard = NetworkGuard([LOOPBACK])
    with answering(tls) as origin:
        origin.answers["/"] = answer
        async with guard.client(timeout=TIMEOUT, verify=trust) as client:
            for name in ("calls.example", "CALLS.example."):
                response = await client.get(f"https://{name}:{origin.port}/")
                assert (response.text, response.url.host) == ("hello", name.lower())
            with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
                await client.get(f"https://other.example:{origin.port}/")
        async with guard.client(timeout=TIMEOUT) as client:
            with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
                await client.get(f"https://calls.example:{origin.port}/")
        assert [host for host, _ in hosts] == [f"calls.example:{origin.port}", f"calls.example.:{origin.port}"]
        assert len({address for _, address in hosts}) == 2
    assert names == ["calls.example", "calls.example", "other.example", "calls.example"]
