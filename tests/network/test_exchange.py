"""Answers of hostile, broken and odd servers. Each answer comes from a real socket, byte for byte."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from ipaddress import ip_network

import httpx
import pytest
import trustme
from hypothesis import example, given
from hypothesis import strategies as st

from app.network.guard import NetworkGuard
from app.network.pacing import Budget
from app.network.wire import MAX_WRAPPING_BYTES, AnswerTooLong
from testing.endless_answers import ENDLESS

GUARD = NetworkGuard([ip_network("127.0.0.0/8")])
TIMEOUT = httpx.Timeout(20)
IN_BUFFERS = 16 * 1024 * 1024  # the kernel accepts at most this from a sender whose receiver does not read
LONGEST_GAP_SECONDS = 2.0  # a parser in Python took 18 s for one of these headers


class Sender:
    """Sends `first`, then `again` endlessly. Without `again` it closes, or stays silent if `stays` is set."""

    def __init__(self, first: bytes, again: bytes = b"", *, stays: bool = False) -> None:
        self.first, self.again, self.stays = first, again, stays
        self.sent = 0
        self.asked = b""

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            self.asked = await reader.readuntil(b"\r\n\r\n")
            writer.write(self.first)
            piece = self.again * max(1, 65536 // max(1, len(self.again)))
            while piece:
                writer.write(piece)
                await writer.drain()
                self.sent += len(piece)
            await writer.drain()
            if self.stays:
                await reader.read()
        writer.close()


@asynccontextmanager
async def answering(sender: Sender, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    server = await asyncio.start_server(sender, "127.0.0.1", ssl=tls)
    scheme, host = ("https", "localhost") if tls else ("http", "127.0.0.1")
    async with server:
        yield f"{scheme}://{host}:{server.sockets[0].getsockname()[1]}"
        server.close()


async def get(url: str, trust: ssl.SSLContext | None = None, **options: object) -> httpx.Response:
    async with GUARD.client(timeout=TIMEOUT, verify=trust) as client:
        return await client.get(url, **options)  # type: ignore[arg-type]


async def longest_gap(task: "asyncio.Task[httpx.Response]") -> float:
    """The longest time in seconds for which the event loop was blocked before the task ended."""
    loop, longest = asyncio.get_running_loop(), 0.0
    while not task.done():
        before = loop.time()
        await asyncio.sleep(0.01)
        longest = max(longest, loop.time() - before)
    return longest


@pytest.mark.parametrize("kind", [kind for kind in ENDLESS if kind != "blocks"])
async def test_a_server_that_sends_endlessly_without_content_is_given_up(kind: str) -> None:
    sender = Sender(*ENDLESS[kind])
    async with answering(sender) as url:
        with pytest.raises(httpx.RemoteProtocolError if kind == "spaces" else AnswerTooLong):
            await get(url)
    assert sender.sent < IN_BUFFERS


async def test_content_may_be_endless() -> None:
    async with (
        answering(Sender(*ENDLESS["blocks"])) as url,
        GUARD.client(timeout=TIMEOUT) as client,
        client.stream("GET", url) as answer,
    ):
        read = 0
        async for content in answer.aiter_raw():
            assert set(content) == {ord("a")}
            read += len(content)
            if read > 2 * MAX_WRAPPING_BYTES:
                break


@pytest.mark.parametrize(
    "header",
    [
        b"a:" + b" " * 60_000 + b"\0",
        b"a:" + b" x" * 30_000 + b"\0",
        b"a: x" + b" " * 60_000 + b"\0",
        b"a:" + b"\r\n x" * 15_000,
        b"\0" * 60_000,
    ],
)
@pytest.mark.parametrize("before", [b"", b"Transfer-Encoding: chunked\r\n\r\n0\r\n"])
async def test_no_header_blocks_the_event_loop_for_long(header: bytes, before: bytes) -> None:
    async with answering(Sender(b"HTTP/1.1 200 OK\r\n" + before + header + b"\r\n\r\n")) as url:
        asking = asyncio.create_task(get(url))
        assert await longest_gap(asking) < LONGEST_GAP_SECONDS
        with suppress(httpx.RemoteProtocolError):
            await asking


@pytest.mark.parametrize(
    ("answer", "content"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokay, and more", b"ok"),
        (b"HTTP/1.1 200 OK\r\n\r\nto the end", b"to the end"),
        (b"HTTP/1.0 200\r\n\r\nold", b"old"),
        (b"HTTP/1.1 200 OK\nA: b\n\nbare lines", b"bare lines"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2 \r\nin\r\n4;x=y\r\n two\r\n0\r\nT: r\r\n\r\n",
            b"in two",
        ),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 E\r\nL: a\r\n\r\nHTTP/1.1 200 OK\r\nA: b\r\n\r\nlate", b"late"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
    ],
)
async def test_usual_and_odd_answers_are_read(answer: bytes, content: bytes) -> None:
    async with answering(Sender(answer)) as url:
        response = await get(url)
    assert response.content == content
    assert "L" not in response.headers
    assert "T" not in response.headers


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 20",
        b"220 mail.example ESMTP\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nha",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    ],
)
async def test_an_answer_that_is_cut_off_or_malformed_is_an_error(answer: bytes) -> None:
    async with answering(Sender(answer)) as url:
        with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
            await get(url)


async def test_a_silent_server_is_given_up() -> None:
    async with (
        answering(Sender(b"HTTP/1.1 103 Early Hints\r\n\r\n", stays=True)) as url,
        GUARD.client(timeout=httpx.Timeout(0.2)) as client,
    ):
        with pytest.raises(httpx.ReadTimeout):
            await client.get(url)


async def test_the_request_target_is_sent_unchanged() -> None:
    sender = Sender(b"HTTP/1.1 204 No\r\n\r\n")
    async with answering(sender) as url:
        await get(url + "/other", extensions={"target": b"/a/../%2e/b?c=%zz"})
        assert sender.asked.startswith(b"GET /a/../%2e/b?c=%zz HTTP/1.1\r\n")
        with pytest.raises(httpx.LocalProtocolError):
            await get(url, headers={"A": "b\r\nC: d"})


@pytest.fixture(scope="module")
def certificates() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """The TLS context of a server, and one that trusts it."""
    authority, tls, trust = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("localhost").configure_cert(tls)
    authority.configure_trust(trust)
    return tls, trust


async def test_large_content_arrives_complete_through_tls(certificates: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    tls, trust = certificates
    content = bytes(range(256)) * 8000
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(content) + content
    async with answering(Sender(answer), tls) as url:
        assert (await get(url, trust)).content == content


async def test_tls_messages_count_towards_the_limit(certificates: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    tls, trust = certificates
    tls.num_tickets = 3 * MAX_WRAPPING_BYTES // 200
    try:
        async with answering(Sender(b"", stays=True), tls) as url:
            with pytest.raises(AnswerTooLong):
                await get(url, trust)
    finally:
        tls.num_tickets = 2


async def test_a_very_slow_handshake_is_given_up() -> None:
    async def drip(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            writer.write(b"\x16\x03\x03\x40\x00")
            while True:
                writer.write(b"\0")
                await writer.drain()
                await asyncio.sleep(0.01)
        writer.close()

    server = await asyncio.start_server(drip, "127.0.0.1")
    async with server, GUARD.client(timeout=httpx.Timeout(20, connect=0.3)) as client:
        with pytest.raises(httpx.ConnectTimeout):
            await client.get(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
        server.close()


async def test_all_connections_share_one_budget() -> None:
    budget, loop = Budget(share=0.5), asyncio.get_running_loop()
    before = loop.time()
    await asyncio.gather(*(budget.pay(0.01) for _ in range(10)))
    assert loop.time() - before >= 0.19
    before = loop.time()
    await budget.pay(0.0)
    assert loop.time() - before < 1.0


HEADERS = st.sampled_from(
    [
        b"Location: ",
        b"Set-Cookie: ",
        b"Content-Length: ",
        b"Transfer-Encoding: ",
        b"Content-Type: ",
        b"Connection: ",
        b"",
    ]
)
ODD_VALUES = (
    *(b"0", b"5", b"-1", b"chunked", b"gzip, chunked", b"upgrade", b"a=b; expires=\xff", b"\xc3\xbc", b"?" * 9000),
    *(b"//", b"/\\", b"https:x", b"http://[", b"http://a:b/", b"http://\xff/", b"https://x.example:99999/"),
)
VALUES = st.one_of(st.binary(max_size=20), st.sampled_from(ODD_VALUES))
ANSWERS = st.builds(
    lambda status, lines, content: (
        b"HTTP/1.1 %d Word\r\n" % status + b"".join(name + value + b"\r\n" for name, value in lines) + b"\r\n" + content
    ),
    st.sampled_from([100, 101, 103, 200, 204, 206, 301, 302, 304, 307, 401, 999]),
    st.lists(st.tuples(HEADERS, VALUES), max_size=4),
    st.one_of(st.binary(max_size=40), st.sampled_from([b"5\r\nabcde\r\n0\r\n\r\n", b"fffffffffffffffff\r\n"])),
)


@given(answer=st.one_of(ANSWERS, st.binary(max_size=60)))
@example(answer=b"HTTP/1.1 301 Word\r\nLocation: a:0\r\n\r\n")
@example(answer=b"HTTP/1.1 301 Word\r\nLocation: \r\nSet-Cookie: \x80\r\n\r\n")
async def test_any_bytes_become_an_answer_or_a_transport_error(answer: bytes) -> None:
    async with answering(Sender(answer)) as url:
        with suppress(httpx.TransportError):
            await get(url)
