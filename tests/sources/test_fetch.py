"""Fetching recordings from a real HTTP server into a real store."""

import asyncio
import socket
import ssl
from collections.abc import AsyncGenerator, Callable, Iterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
import trustme

from app.errors import FetchFailed, InsufficientStorage, UrlNotAllowed
from app.jobs.upkeep.retention import ORPHAN_SECONDS
from app.network.guard import NetworkGuard
from app.sources import web
from app.sources.content import Content, RequireSpace
from app.sources.fetch import Fetched, Fetcher, Pace
from app.sources.web import WebSource
from app.storage.disk import FreeSpace
from app.storage.folder_store import LocalAudioStore
from testing.files import files_in
from testing.origin import Answer, Exchange, Origin, answering

CONTENT = bytes(range(256)) * 400
MAX_BYTES = 200_000
HALF = len(CONTENT) // 2
ETAG = '"version-1"'
SECRET = "signature-4711"
LOOPBACK = ip_network("127.0.0.0/8")


@pytest.fixture
def origin() -> Iterator[Origin]:
    with answering() as origin:
        yield origin


class Bench:
    """A fetcher with short time limits, and its store."""

    def __init__(self, folder: Path) -> None:
        self.store = LocalAudioStore(folder)

    def fetcher(self, pace: Pace, trust: ssl.SSLContext | None = None) -> Fetcher:
        source = WebSource(NetworkGuard([LOOPBACK]), verify=trust, silence_seconds=1)
        return Fetcher(
            {"http": source, "https": source},
            self.store,
            FreeSpace((self.store.folder,), 0),
            max_bytes=MAX_BYTES,
            pace=pace,
        )

    async def fetch(self, url: str, pace: Pace = Pace(), trust: ssl.SSLContext | None = None) -> Fetched:  # noqa: B008
        return await self.fetcher(pace, trust).fetch(f"{url}?token={SECRET}", "key")

    async def failure(self, url: str, pace: Pace = Pace(), trust: ssl.SSLContext | None = None) -> FetchFailed:  # noqa: B008
        """The failure of a fetch. It stores nothing, and its text contains no secret and no words of the server."""
        with pytest.raises(FetchFailed) as failure:
            await self.fetch(url, pace, trust)
        assert files_in(self.store.folder) == []
        assert SECRET not in failure.value.detail
        assert "<html>" not in failure.value.detail
        return failure.value

    def content(self) -> bytes:
        [path] = files_in(self.store.folder)
        return path.read_bytes()


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(web, "RESUME_PAUSE_SECONDS", 0)
    return Bench(tmp_path)


def status(number: int) -> Answer:
    return lambda exchange: exchange.whole(b"<html>go away</html>", number)


def redirect(target: str) -> Answer:
    return lambda exchange: exchange.whole(b"", 302, Location=target)


def cut(exchange: Exchange, **headers: str | int) -> None:
    """Send half of the recording, then close the connection."""
    exchange.head(200, Content_Length=len(CONTENT), **headers)
    exchange.wfile.write(CONTENT[:HALF])


def send_missing_part(exchange: Exchange, etag: str = ETAG) -> None:
    start = int(exchange.headers["Range"].removeprefix("bytes=").removesuffix("-"))
    span = f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}"
    exchange.whole(CONTENT[start:], 206, Content_Range=span, ETag=etag)


def cut_first(then: Answer, etag: str = ETAG) -> Answer:
    """Break off the first answer, and answer the second request with `then`."""
    return lambda exchange: then(exchange) if "Range" in exchange.headers else cut(exchange, ETag=etag)


def endless(exchange: Exchange) -> None:
    exchange.head()
    while True:
        exchange.wfile.write(CONTENT)


def chunked(exchange: Exchange) -> None:
    exchange.head(Transfer_Encoding="chunked")
    for start in range(0, len(CONTENT), 10_000):
        piece = CONTENT[start : start + 10_000]
        exchange.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
    exchange.wfile.write(b"0\r\n\r\n")


def dripping(exchange: Exchange) -> None:
    exchange.head()
    exchange.drip(b"x", 0.05)


def announcing_too_much(exchange: Exchange) -> None:
    exchange.head(Content_Length=MAX_BYTES + 1)
    exchange.hang()


def stopping_midway(exchange: Exchange) -> None:
    cut(exchange)
    exchange.wfile.flush()
    exchange.hang()


async def test_a_recording_is_stored_with_its_size(bench: Bench, origin: Origin) -> None:
    origin.answers["/call.wav"] = lambda exchange: exchange.whole(CONTENT)
    audio = (await bench.fetch(origin.url("/call.wav"))).audio
    assert (audio.key, audio.bytes, bench.content()) == ("key", len(CONTENT), CONTENT)
    [(path, headers)] = origin.asked
    assert path == f"/call.wav?token={SECRET}"
    assert headers["host"] == f"127.0.0.1:{origin.port}"
    assert headers["accept-encoding"] == "identity"
    assert headers["user-agent"].startswith("callscribe/")


@pytest.mark.parametrize(
    "answer",
    [
        chunked,
        lambda exchange: (exchange.head(), exchange.wfile.write(CONTENT)),
        redirect("/final"),
        cut_first(send_missing_part),
        cut_first(lambda exchange: send_missing_part(exchange, etag="")),
    ],
    ids=["chunked", "until the end of the connection", "redirected", "cut and resumed", "resumed without an ETag"],
)
async def test_a_recording_arrives_complete_in_every_way_of_sending_it(
    bench: Bench, origin: Origin, answer: Answer
) -> None:
    origin.answers |= {"/call.wav": answer, "/final": lambda exchange: exchange.whole(CONTENT)}
    await bench.fetch(origin.url("/call.wav"))
    assert bench.content() == CONTENT


async def test_the_missing_part_is_requested_by_the_etag_of_the_first_part(bench: Bench, origin: Origin) -> None:
    origin.answers["/call.wav"] = cut_first(send_missing_part)
    await bench.fetch(origin.url("/call.wav"))
    first, second = origin.headers_of("/call.wav")
    assert "range" not in first
    assert (second["range"], second["if-range"]) == (f"bytes={HALF}-", ETAG)


@pytest.mark.parametrize(
    ("answer", "reason", "transient"),
    [
        *((status(number), f"answered {number}", False) for number in (204, 206, 304, 400, 401, 403, 410, 501)),
        *(
            (status(number), f"answered {number}", True)
            for number in (202, 404, 408, 423, 425, 429, 500, 502, 503, 504)
        ),
        (lambda exchange: exchange.whole(b"x" * (MAX_BYTES + 1)), f"larger than {MAX_BYTES} bytes", False),
        (endless, f"larger than {MAX_BYTES} bytes", False),
        (lambda exchange: exchange.whole(CONTENT, Content_Encoding="br"), "content encoding", False),
        (lambda exchange: exchange.head(Transfer_Encoding="gzip, chunked"), "transfer encoding", False),
        (redirect("http://10.0.0.1/"), "not on the public internet", False),
        (redirect("https://169.254.169.254/"), "not on the public internet", False),
        (redirect("file:///etc/passwd"), "scheme must be", False),
        (redirect("/call.wav"), "redirects more than 3 times", False),
        (redirect("a:0"), "is not HTTP", True),
        (Exchange.hang, "stopped answering", True),
        (stopping_midway, "stopped answering", True),
        (cut, "cut off", True),
        (lambda exchange: cut(exchange, ETag='W/"weak"'), "cut off", True),
        (lambda exchange: cut(exchange, ETag=ETAG), "does not send the rest", True),
        (cut_first(status(410)), "answered 410", False),
        (cut_first(lambda exchange: send_missing_part(exchange, '"version-2"')), "changed", True),
        (cut_first(lambda exchange: exchange.whole(CONTENT, 206, Content_Range="bytes 0-9/10")), "another part", True),
        (lambda exchange: exchange.wfile.write(b"<html>not HTTP</html>\r\n\r\n"), "not HTTP", True),
        (lambda exchange: None, "cut off", True),
    ],
)
async def test_a_failure_has_a_reason_and_says_whether_another_try_may_help(
    bench: Bench, origin: Origin, answer: Answer, reason: str, transient: bool
) -> None:
    origin.answers["/call.wav"] = answer
    failure = await bench.failure(origin.url("/call.wav"))
    assert reason in failure.detail
    assert failure.transient is transient


async def test_a_recording_announced_as_too_large_is_not_read(bench: Bench, origin: Origin) -> None:
    origin.answers["/call.wav"] = announcing_too_much
    assert "larger than" in (await bench.failure(origin.url("/call.wav"))).detail


async def test_a_recording_announced_as_larger_than_the_free_space_is_not_read(bench: Bench, origin: Origin) -> None:
    def announcing_much(exchange: Exchange) -> None:
        exchange.head(Content_Length=10**15)
        exchange.hang()

    origin.answers["/call.wav"] = announcing_much
    web, space = WebSource(NetworkGuard([LOOPBACK])), FreeSpace((bench.store.folder,), 0)
    fetcher = Fetcher({"http": web}, bench.store, space, max_bytes=10**16)
    with pytest.raises(InsufficientStorage):
        await fetcher.fetch(origin.url("/call.wav"), "key")


async def test_the_number_of_resumes_is_limited(bench: Bench, origin: Origin) -> None:
    def one_more_byte(exchange: Exchange) -> None:
        start = int(exchange.headers["Range"].removeprefix("bytes=").removesuffix("-"))
        exchange.head(206, Content_Length=10, Content_Range=f"bytes {start}-{start + 9}/{len(CONTENT)}")
        exchange.wfile.write(CONTENT[start : start + 1])

    origin.answers["/call.wav"] = cut_first(one_more_byte)
    failure = await bench.failure(origin.url("/call.wav"))
    assert ("cut off" in failure.detail, failure.transient) == (True, True)
    ranges = [headers.get("range") for headers in origin.headers_of("/call.wav")]
    assert ranges == [None, *(f"bytes={HALF + n}-" for n in range(web.MAX_RESUMES))]


@pytest.mark.parametrize(
    ("answer", "pace", "reason"),
    [
        (dripping, Pace(span_seconds=0.5), "less than 10000 bytes a second over 0.5 s"),
        (stopping_midway, Pace(span_seconds=0.5), "less than 10000 bytes a second"),
        (dripping, Pace(min_bytes_per_second=1, deadline_seconds=0.5), "did not arrive within 0.5 s"),
        (Exchange.hang, Pace(deadline_seconds=0.5), "did not arrive within 0.5 s"),
    ],
    ids=["slow", "stopped", "slow but allowed", "no answer"],
)
async def test_a_slow_server_is_given_up(bench: Bench, origin: Origin, answer: Answer, pace: Pace, reason: str) -> None:
    origin.answers["/call.wav"] = answer
    failure = await bench.failure(origin.url("/call.wav"), pace)
    assert reason in failure.detail
    assert failure.transient


class Immediate:
    """A source whose chunks, one byte each, are all ready before they are requested."""

    def __init__(self, pieces: int, others_ran: Callable[[], int]) -> None:
        self._pieces = pieces
        self._others_ran = others_ran
        self.seen: list[int] = []

    def require_allowed(self, url: str) -> None:
        pass

    async def read(
        self, url: str, max_bytes: int, require_space: RequireSpace, content: Content
    ) -> AsyncGenerator[bytes, None]:
        for _ in range(self._pieces):
            self.seen.append(self._others_ran())
            yield b"x"


async def test_other_tasks_run_while_a_source_always_has_a_chunk_ready(bench: Bench) -> None:
    pieces, others_ran = 2000, 0

    async def others() -> None:
        nonlocal others_ran
        while True:
            await asyncio.sleep(0)
            others_ran += 1

    source = Immediate(pieces, lambda: others_ran)
    fetcher = Fetcher({"test": source}, bench.store, FreeSpace((bench.store.folder,), 0), max_bytes=MAX_BYTES)
    others_at_work = asyncio.create_task(others())
    await fetcher.fetch("test:", "key")
    others_at_work.cancel()
    assert bench.content() == b"x" * pieces
    assert source.seen[-1] - source.seen[0] > pieces // 2


async def test_another_try_may_help_after_a_refused_connection(bench: Bench) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    failure = await bench.failure(f"http://127.0.0.1:{port}/")
    assert (failure.detail, failure.transient) == ("The server refused the connection.", True)


async def test_an_unknown_host_name_is_reported(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(*_: Any, **__: Any) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nothing)
    failure = await bench.failure("https://nowhere.example/call.wav")
    assert failure.detail == "The host name was not found."


@pytest.fixture
def secure() -> Iterator[tuple[Origin, ssl.SSLContext]]:
    """A server with TLS, and a context that trusts its certificate."""
    authority = trustme.CA()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    with answering(tls) as origin:
        yield origin, trust


def https(origin: Origin, path: str) -> str:
    return origin.url(path).replace("http:", "https:")


async def test_an_invalid_certificate_is_refused(bench: Bench, secure: tuple[Origin, ssl.SSLContext]) -> None:
    origin, trust = secure
    origin.answers["/call.wav"] = lambda exchange: exchange.whole(CONTENT)
    failure = await bench.failure(https(origin, "/call.wav"))
    assert (failure.detail, failure.transient) == ("The server's certificate is not valid for this host.", False)
    await bench.fetch(https(origin, "/call.wav"), trust=trust)
    assert bench.content() == CONTENT


async def test_a_redirect_from_https_to_http_is_refused(
    bench: Bench, secure: tuple[Origin, ssl.SSLContext], origin: Origin
) -> None:
    tls_origin, trust = secure
    tls_origin.answers |= {"/call.wav": redirect(origin.url("/call.wav")), "/here": redirect("/call.wav")}
    failure = await bench.failure(https(tls_origin, "/here"), trust=trust)
    assert (failure.detail, failure.transient) == ("The server redirects from https to http.", False)
    assert origin.asked == []


def test_schemes_without_a_source_are_refused(bench: Bench) -> None:
    with pytest.raises(UrlNotAllowed, match="one of http, https"):
        bench.fetcher(Pace()).require_allowed("ftp://127.0.0.1/call.wav")


def test_a_fetch_ends_before_its_file_counts_as_an_orphan() -> None:
    assert Pace().deadline_seconds < ORPHAN_SECONDS
