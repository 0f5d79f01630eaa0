"""The WebSockets of the server: who gets one, and what they may cost. An echo stands in for live calls."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from starlette.websockets import WebSocket
from structlog.testing import capture_logs
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from app.api.live import routes
from app.api.server import websockets
from app.database.connections import Database
from app.errors import Unavailable
from testing.listening import Listening, listening
from testing.service import eventually

OPENING = (
    b"GET /v1/live?token=secret HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
HELLO = b"\x81\x85\0\0\0\0hello"  # a frame with a mask of zeros
UNKNOWN = b"\x83\x80\0\0\0\0"
PING = b"\x89\xfd\0\0\0\0" + b"p" * 125


async def echo(websocket: WebSocket, *_: Any, **__: Any) -> None:
    while True:
        message = await websocket.receive()
        if message["type"] == "websocket.disconnect":
            return
        match message.get("text"):
            case "fail":
                raise RuntimeError
            case "refuse":
                raise Unavailable
            case "flood":
                while True:
                    await websocket.send_bytes(bytes(10_000))
            case "scope":
                scope = {name: str(websocket.scope[name]) for name in ("path", "scheme", "client")}
                await websocket.send_json(scope | {"id": websocket.state.request_id})
            case None:
                await websocket.send_bytes(message["bytes"])
            case text:
                await websocket.send_text(text)


@pytest.fixture(autouse=True)
def echoing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "converse", echo)


@pytest.fixture
async def served(database: Database, tmp_path: Path) -> AsyncIterator[Listening]:
    async with listening(database, tmp_path) as served:
        yield served


def call(served: Listening, path: str = "/v1/live", **arguments: Any) -> connect:
    return connect(f"ws://127.0.0.1:{served.port}{path}", proxy=None, compression=None, **arguments)


async def until(condition: Callable[[], bool]) -> None:
    await asyncio.to_thread(eventually, condition)


async def close_code(websocket: ClientConnection) -> int | None:
    with suppress(ConnectionClosed):
        async with asyncio.timeout(20):
            async for _ in websocket:
                pass
    return websocket.close_code


@asynccontextmanager
async def raw(served: Listening, sent: bytes) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(sent)
    async with asyncio.timeout(20):
        yield reader, writer
    writer.transport.abort()
    with suppress(ConnectionError):
        await writer.wait_closed()


@pytest.mark.parametrize("path", ["/v1/live", "/v1/realtime?intent=transcription"])
async def test_frames_go_both_ways(served: Listening, path: str) -> None:
    async with call(served, path) as websocket:
        for frame in ("hello", b"\x00\x01", "", b"", "ü" * 1000, bytes(websockets.MESSAGE_BYTES)):
            await websocket.send(frame)
            assert await websocket.recv() == frame
        await websocket.send([b"a", b"", b"b"])  # in fragments
        assert await websocket.recv() == b"ab"


async def test_frames_right_behind_the_request_are_heard(served: Listening) -> None:
    async with raw(served, OPENING + b"\r\n" + HELLO) as (reader, _):
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        assert await reader.readexactly(7) == b"\x81\x05hello"


async def test_the_opening_may_come_in_pieces_and_after_other_requests(served: Listening) -> None:
    async with raw(served, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n") as (reader, writer):
        await reader.readuntil(b"}")
        for byte in OPENING + b"X-Long: " + b"a" * 9000 + b"\r\n\r\n":
            writer.write(bytes([byte]))
        await writer.drain()
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        writer.write(HELLO)
        assert await reader.readexactly(7) == b"\x81\x05hello"


@pytest.mark.parametrize(
    ("old", "new", "status"),
    [
        (b"HTTP/1.1", b"HTTP/1.0", b"422"),  # `token` is no parameter of the list of live calls
        (b"WebSocket", b"h2c", b"422"),
        (b"GET", b"POST", b"405"),
        (b"/v1/live?", b"/v1/models?", b"422"),
        (b"/v1/live?", b"/v1/live/?", b"404"),
        (b"Version: 13", b"Version: 8", b"400"),
        (b"Sec-WebSocket-Key", b"X", b"400"),
        (b"Host: localhost", b"Host: a b", b"400"),
        (b"Host: localhost\r\n", b"", b"400"),
    ],
)
async def test_other_requests_become_no_websocket(served: Listening, old: bytes, new: bytes, status: bytes) -> None:
    async with raw(served, OPENING.replace(old, new, 1) + b"\r\n") as (reader, _):
        assert (await reader.readline()).split()[1] == status


async def test_a_message_that_is_too_large_closes_the_connection(served: Listening) -> None:
    async with call(served) as websocket:
        await websocket.send(bytes(websockets.MESSAGE_BYTES + 1))
        assert await close_code(websocket) == 1009
    async with call(served) as websocket:
        await websocket.send([bytes(websockets.MESSAGE_BYTES), b"a"])
        assert await close_code(websocket) == 1009


async def test_a_frame_that_comes_together_with_a_broken_one_is_heard(
    served: Listening, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = []

    async def keep(websocket: WebSocket, *_: Any, **__: Any) -> None:
        while "code" not in (message := await websocket.receive()):
            heard.append(message.get("text"))
        heard.append(message["code"])

    monkeypatch.setattr(routes, "converse", keep)
    async with raw(served, OPENING + b"\r\n") as (reader, writer):
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        writer.write(HELLO + UNKNOWN)
        await until(lambda: 1002 in heard)
    assert heard[0] == "hello"
    async with raw(served, OPENING + b"\r\n" + UNKNOWN) as (reader, _):
        assert await reader.read() == b""


async def test_text_that_is_not_utf_8_closes_the_connection(served: Listening) -> None:
    async with call(served) as websocket:
        await websocket.send(b"\xff", text=True)
        assert await close_code(websocket) == 1007


async def test_a_fault_and_an_error_close_the_connection(served: Listening) -> None:
    for text, code in (("fail", 1011), ("refuse", 1013)):
        async with call(served) as websocket:
            await websocket.send(text)
            assert await close_code(websocket) == code


async def test_the_log_has_the_request_but_not_its_query(served: Listening, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    with capture_logs() as logs:
        async with call(served, "/v1/live?x=secret", additional_headers={"X-Request-ID": "mine"}) as websocket:
            assert websocket.response is not None
            assert websocket.response.headers["X-Request-ID"] == "mine"
            await websocket.send("refuse")
            assert await close_code(websocket) == 1013
        await until(lambda: any(entry["event"] == "request" for entry in logs))
    [line] = [entry for entry in logs if entry["event"] == "request"]
    facts = {"method": "GET", "path": "/v1/live", "status": 101, "close_code": 1013, "code": "unavailable"}
    assert facts.items() <= line.items()
    ours = [record.getMessage() for record in caplog.records if record.name != "websockets.client"]
    assert "secret" not in f"{logs}{ours}"


async def test_the_log_has_the_code_of_the_side_that_closed_first(served: Listening) -> None:
    with capture_logs() as logs:
        async with call(served) as websocket:
            await websocket.close(3001)
        await until(lambda: any(entry["event"] == "request" for entry in logs))
    assert [entry["close_code"] for entry in logs if entry["event"] == "request"] == [3001]


async def test_a_proxy_is_believed_and_the_root_path_is_removed_or_not(database: Database, tmp_path: Path) -> None:
    headers = {"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "localhost"}
    settings = {"root_path": "/speech", "trusted_proxies": "127.0.0.1", "auth": "off"}
    async with listening(database, tmp_path, **settings) as served:
        for path in ("/v1/live", "/speech/v1/live"):
            async with call(served, path, additional_headers=headers) as websocket:
                await websocket.send("scope")
                told = json.loads(await websocket.recv())
                assert told | {"id": ""} == {
                    "path": "/v1/live",
                    "scheme": "wss",
                    "client": "('192.0.2.7', 0)",
                    "id": "",
                }


async def test_a_service_that_is_not_open_yet_refuses(
    served: Listening, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("app.api.server.availability.service_if_open", lambda _: None)
    with pytest.raises(InvalidStatus) as refusal:
        await call(served).__aenter__()
    assert refusal.value.response.status_code == 503
    assert json.loads(refusal.value.response.body or b"")["code"] == "unavailable"
    assert "ASGI" not in caplog.text


async def test_a_client_that_never_reads_costs_little_and_can_be_closed(
    served: Listening, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websockets, "CLOSING_SECONDS", 0.2)
    made = list[websockets.WebSocketConnection]()
    begin = websockets.WebSocketConnection.take_over

    def noted(connection: websockets.WebSocketConnection, *arguments: Any) -> None:
        made.append(connection)
        begin(connection, *arguments)

    monkeypatch.setattr(websockets.WebSocketConnection, "take_over", noted)
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(client, ("127.0.0.1", served.port))
        await loop.sock_sendall(client, OPENING + b"\r\n" + b"\x81\x85\0\0\0\0flood" + PING * 100)
        await until(lambda: bool(made) and not made[0].writable.is_set())
        [connection] = made
        for _ in range(20):
            connection.data_received(PING * 1000)  # as if they had been read, because the reading is paused
        assert connection.transport.get_write_buffer_size() < 2 * websockets.UNSENT_BYTES
        connection.shutdown()
        await until(lambda: connection.disconnected and not connection.tasks)


async def test_reading_pauses_while_the_call_is_busy(served: Listening, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = asyncio.Event()

    async def busy(websocket: WebSocket, *arguments: Any, **named: Any) -> None:
        await go_on.wait()
        await echo(websocket)

    monkeypatch.setattr(routes, "converse", busy)
    async with raw(served, OPENING + b"\r\n") as (reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        sent = 0
        while sent < 200_000_000:
            writer.write(b"\x82\xff\0\0\0\0\0\1\0\0\0\0\0\0" + bytes(65_536))
            sent += 65_536
            try:
                async with asyncio.timeout(1):
                    await writer.drain()
            except TimeoutError:
                break
        assert sent < 30_000_000  # what the kernel holds
        go_on.set()
        assert (await reader.readexactly(2))[0] == 0x82


async def test_a_client_that_sends_sound_need_not_answer_pings(
    served: Listening, monkeypatch: pytest.MonkeyPatch
) -> None:
    init = websockets.WebSocketConnection.__init__

    def quick(connection: Any, *arguments: Any, **named: Any) -> None:
        init(connection, *arguments, **named)
        connection.ping_interval = connection.ping_timeout = 0.2

    monkeypatch.setattr(websockets.WebSocketConnection, "__init__", quick)
    async with raw(served, OPENING + b"\r\n") as (reader, writer):
        for _ in range(20):
            writer.write(b"\x82\x80\0\0\0\0")
            await asyncio.sleep(0.05)
        writer.write(HELLO)
        assert b"\x81\x05hello" in await reader.readuntil(b"hello")
        rest = await reader.read()  # a silent one is closed
        assert b"\x03\xf3keepalive" in rest


async def test_a_stopping_service_closes_with_the_code_for_it(database: Database, tmp_path: Path) -> None:
    async with listening(database, tmp_path) as served:
        websocket = await call(served).__aenter__()
        await websocket.send("hello")
        await websocket.recv()
    assert await close_code(websocket) == 1012


async def test_an_open_call_counts_until_it_is_lost(database: Database, tmp_path: Path) -> None:
    async with listening(database, tmp_path, max_connections_per_client="2") as served:
        async with call(served) as first, call(served):
            await asyncio.sleep(1.1)  # idle connections of this age are closed to make room, but these are busy
            with pytest.raises((InvalidStatus, OSError, EOFError)) as refusal:
                await call(served).__aenter__()
            assert "503" in str(refusal.value)
            await first.send("hello")
            assert await first.recv() == "hello"
        async with asyncio.timeout(20):
            while True:
                try:
                    async with call(served) as again:
                        await again.send("hello")
                        break
                except InvalidStatus:
                    await asyncio.sleep(0.05)
