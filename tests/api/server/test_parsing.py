"""Requests that offer another protocol, and bytes that are not HTTP, sent through raw sockets."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import pytest

from app.database.connections import Database
from testing.forms import END, FORM_TYPE, field, file
from testing.listening import listening
from testing.recordings import tone

OFFERS = {
    "java": b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAAB\r\n",
    "websocket": b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
    "unknown": b"Upgrade: foo/2, bar\r\nConnection: keep-alive, upgrade\r\n",
    "repeated": b"Upgrade: h2c\r\nConnection: upgrade\r\nUpgrade: h2c\r\n",
    "with Expect": b"Connection: Upgrade\r\nUpgrade: h2c\r\nExpect: 100-continue\r\n",
    "header Upgrade only": b"Upgrade: h2c\r\n",
    "header Connection only": b"Connection: upgrade\r\n",
}
FORM = field("external_id", "crm-1") + file() + END
LAST = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


def post(offer: bytes, body: bytes = FORM, content_type: str = FORM_TYPE) -> tuple[bytes, bytes]:
    """Returns the head and the body of an upload that offers an upgrade."""
    head = b"POST /v1/transcriptions HTTP/1.1\r\nHost: localhost\r\nContent-Type: " + content_type.encode() + b"\r\n"
    return head + offer + b"Content-Length: %d\r\n\r\n" % len(body), body


def chunked(offer: bytes) -> bytes:
    head, body = post(offer)
    pieces = (body[start : start + 1000] for start in range(0, len(body), 1000))
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    return head.replace(b"Content-Length: %d" % len(body), b"Transfer-Encoding: chunked") + chunks


async def answers(port: int, writes: Iterable[bytes]) -> list[tuple[int, dict[str, Any]]]:
    """Sends each of the writes when the one before has arrived. Returns the statuses and the bodies of all answers."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for each in writes:
        writer.write(each)
        await writer.drain()
        await asyncio.sleep(0.01)  # otherwise the kernel might join the writes
    received = []
    async with asyncio.timeout(20):
        while status := await reader.readline():
            if b" 100 " in status:
                await reader.readline()
                continue
            head = await reader.readuntil(b"\r\n\r\n")
            [length] = [line.split(b":")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"content-len")]
            received.append((int(status.split()[1]), json.loads(await reader.readexactly(int(length)))))
    writer.close()
    return received


@pytest.fixture
async def port(database: Database, tmp_path: Path) -> AsyncIterator[int]:
    async with listening(database, tmp_path) as service:
        yield service.port


@pytest.mark.parametrize("offer", OFFERS.values(), ids=OFFERS)
async def test_a_request_that_offers_an_upgrade_is_an_ordinary_one(port: int, offer: bytes) -> None:
    head, body = post(offer)
    whole = chunked(offer)
    writes = [
        head + body,  # in one write
        head,
        body[:1000],
        body[1000:],
        whole[: len(head) // 2],  # in the middle of the head
        whole[len(head) // 2 :],
        *post(offer, b'{"url": "http://127.0.0.1/a.wav"}', "application/json"),
        LAST,
    ]
    uploads = await answers(port, writes)
    assert [status for status, _ in uploads] == [202, 202, 202, 422, 200]
    assert {upload["audio"]["bytes"] for _, upload in uploads[:3]} == {len(tone())}
    assert uploads[3][1]["code"] == "url_not_allowed"  # which is an answer to the JSON body


async def test_pipelined_requests_that_offer_an_upgrade_are_all_answered(port: int) -> None:
    read = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n" + OFFERS["java"] + b"\r\n"
    head, body = post(OFFERS["java"])
    assert [status for status, _ in await answers(port, [read + head + body + read + LAST])] == [200, 202, 200, 200]


@pytest.mark.parametrize("route", ["GET /v1/transcriptions", "DELETE /v1/transcriptions/x", "GET /", "PUT /unknown"])
async def test_an_offered_upgrade_changes_no_answer(port: int, route: str) -> None:
    def asked(offer: bytes) -> bytes:
        return route.encode() + b" HTTP/1.1\r\nHost: localhost\r\nX-Request-ID: same\r\n" + offer + b"\r\n"

    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    received = []
    for offer in (OFFERS["java"], OFFERS["websocket"], b""):
        writer.write(asked(offer))
        head = await reader.readuntil(b"\r\n\r\n")
        [length] = [line.split(b":")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")]
        received.append((head.partition(b"date:")[0], await reader.readexactly(int(length))))
    writer.close()
    assert received[0] == received[1] == received[2]


@pytest.mark.parametrize(
    ("request_", "detail"),
    [
        (b"nonsense\r\n\r\n", "method"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "method"),  # the beginning of TLS
        (b"GET /healthz HTTP/3.7\r\n\r\n", "version"),
        (b"GET http://[::1/ HTTP/1.1\r\nHost: localhost\r\n\r\n", "address"),
        (b"GET /\xe9 HTTP/1.1\r\nHost: localhost\r\n\r\n", "url path"),
        (b"GET /healthz HTTP/1.1\r\nHost : localhost\r\n\r\n", "header"),
        (b"GET /healthz HTTP/1.1\r\nX-A: b\x00c\r\n\r\n", "header"),
        (b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: many\r\n\r\n", "Content-Length"),
        (b"GET /healthz HTTP/1.1\r\nX-Long: " + b"a" * 70_000, "65536 bytes"),
        (b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n", "CONNECT"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP/2"),
    ],
    ids=["line", "tls", "version", "url", "byte", "name", "value", "length", "long", "connect", "http2"],
)
async def test_a_malformed_request_is_answered_with_a_problem(port: int, request_: bytes, detail: str) -> None:
    [(status, problem)] = await answers(port, [request_])
    assert (status, problem["status"], problem["code"]) == (400, 400, "bad_request")
    assert detail.lower() in problem["detail"].lower()
    assert problem["request_id"]


async def test_a_malformed_chunk_is_answered_with_a_problem(port: int) -> None:
    [(status, problem)] = await answers(port, [chunked(b"").replace(b"3e8\r\n", b"xyz\r\n", 1)])
    assert (status, problem["code"]) == (400, "bad_request")
    assert "chunk" in problem["detail"]


async def test_requests_before_a_malformed_one_get_their_answers(port: int) -> None:
    read = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    assert await answers(port, [read * 3 + b"nonsense\r\n\r\n"]) == [(200, {"status": "ok"})] * 3
