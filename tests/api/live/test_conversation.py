"""A WebSocket, its dialect and a call: who may begin one, what it hears and tells, and how it ends."""

import asyncio
import json
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from starlette.types import Message
from starlette.websockets import WebSocket

from app.access.callers import ANONYMOUS, Caller
from app.api.live import conversation
from app.api.live.conversation import MOST_UNREAD, converse
from app.errors import AppError, InternalError, InvalidRequest, ShuttingDown, TooLong, TryAgainLater, Unauthorized
from app.intake.model_names import ModelNames
from app.live.asking import NewCall
from app.live.events import LiveEvent, Partial, Reconnect, Started, Stopped, Transcript
from testing.waiting import soon

ID = UUID("0198c1f0-0000-7000-8000-000000000001")
MODELS = ModelNames(["base"])
ALICE = Caller("alice")
HELLO = Transcript(0, "speaker", 0, "Hello.", 0.5, 1.5)


class Call:
    """Keeps what it hears, and tells one text for each piece of sound."""

    def __init__(self, tell: Callable[[LiveEvent], None]) -> None:
        self.id = ID
        self.tell = tell
        self.heard: list[object] = []
        self.stopped: list[str] = []
        self.trouble: Exception | None = None
        tell(Started(ID, {}))

    async def hear(self, raw: bytes) -> None:
        if self.trouble is not None:
            raise self.trouble
        self.heard.append(raw)
        self.tell(HELLO)

    async def hear_channel(self, channel: int, raw: bytes, at_seconds: float | None = None) -> None:
        self.heard.append((channel, raw, at_seconds))

    async def stop(self, reason: str = "stop") -> UUID | None:
        self.stopped.append(reason)
        self.tell(Stopped(ID, {}, reason))
        return ID


class Calls:
    def __init__(self) -> None:
        self.opened: list[tuple[Caller, NewCall, str | None]] = []
        self.call: Call | None = None
        self.refusal: AppError | None = None

    async def open(
        self, caller: Caller, new: NewCall, tell: Callable[[LiveEvent], None], *, shared_as: str | None = None
    ) -> Call:
        if self.refusal is not None:
            raise self.refusal
        self.opened.append((caller, new, shared_as))
        self.call = Call(tell)
        return self.call


class Client:
    """The other side of a WebSocket that was accepted. It reads only if `reads`."""

    def __init__(self, path: str = "/v1/live", query: str = "") -> None:
        self.calls = Calls()
        self.told: list[dict[str, Any]] = []
        self.reads = asyncio.Event()
        self.reads.set()
        self._sent: asyncio.Queue[Message] = asyncio.Queue()
        scope: dict[str, Any] = {
            "type": "websocket",
            "path": path,
            "query_string": query.encode(),
            "headers": [],
            "app": None,
        }
        self._websocket = WebSocket(scope, self._sent.get, self._hear)

    async def begin(self, caller: Caller | None = ALICE) -> asyncio.Task[None]:
        self._sent.put_nowait({"type": "websocket.connect"})
        await self._websocket.accept()
        return asyncio.create_task(converse(self._websocket, self.calls, MODELS, caller=caller, identify=_identify))

    def send(self, frame: object) -> None:
        if isinstance(frame, bytes):
            self._sent.put_nowait({"type": "websocket.receive", "bytes": frame})
        else:
            text = frame if isinstance(frame, str) else json.dumps(frame)
            self._sent.put_nowait({"type": "websocket.receive", "text": text})

    def hang_up(self) -> None:
        self._sent.put_nowait({"type": "websocket.disconnect", "code": 1006})

    @property
    def types(self) -> list[str]:
        return [each["type"] for each in self.told]

    @property
    def call(self) -> Call:
        assert self.calls.call is not None
        return self.calls.call

    async def _hear(self, message: Message) -> None:
        if message["type"] == "websocket.send":
            await self.reads.wait()
            self.told.append(json.loads(message["text"]))


async def _identify(key: str) -> Caller:
    if key != "secret":
        raise Unauthorized
    return ALICE


async def test_a_call_from_start_to_stop() -> None:
    client = Client()
    talk = await client.begin()
    for frame in ({"type": "start", "language": "en"}, b"\0\1", b"\2\3", {"type": "stop"}):
        client.send(frame)
    await talk
    assert client.types == ["started", "transcript", "transcript", "stopped"]
    assert client.call.heard == [b"\0\1", b"\2\3"]
    assert client.call.stopped == ["stop"]
    assert client.calls.opened[0][0] is ALICE


async def test_the_key_may_come_in_the_first_frame() -> None:
    client = Client()
    talk = await client.begin(None)
    for frame in ({"type": "auth", "api_key": "secret", "model": "base"}, bytes(640), {"type": "stop"}):
        client.send(frame)
    await talk
    assert client.types == ["started", "transcript", "stopped"]


@pytest.mark.parametrize("first", [{"type": "auth", "api_key": "wrong"}, {"type": "start"}, {"uuid": "1"}])
async def test_a_wrong_or_missing_key_ends_the_connection(first: object) -> None:
    client = Client()
    talk = await client.begin(None)
    client.send(first)
    with pytest.raises(Unauthorized):
        await talk
    assert client.told == [{"type": "error", "code": "unauthorized", "message": Unauthorized.title}]
    assert not client.calls.opened


async def test_a_client_that_does_not_say_who_it_is_has_to_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversation, "AUTH_SECONDS", 0.05)
    client = Client()
    with pytest.raises(Unauthorized):
        await (await client.begin(None))
    assert client.types == ["error"]


async def test_a_closed_socket_ends_the_call() -> None:
    client = Client()
    talk = await client.begin()
    client.send({"type": "start"})
    client.send(b"\0\1")
    client.hang_up()
    await talk
    assert client.call.stopped == ["disconnect"]


async def test_a_client_without_sound_ends_its_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversation, "SILENCE_SECONDS", 0.05)
    client = Client()
    talk = await client.begin()
    client.send({"type": "start"})
    await talk
    assert client.call.stopped == ["silence"]
    assert client.types == ["started", "stopped"]


async def test_a_client_that_is_still_there_keeps_its_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversation, "SILENCE_SECONDS", 0.4)
    client = Client()
    talk = await client.begin()
    client.send({"type": "start"})
    for _ in range(6):
        client.send({"type": "keep_alive"})
        await asyncio.sleep(0.1)
    client.send({"type": "stop"})
    await talk
    assert client.call.stopped == ["stop"]


async def test_a_client_that_never_begins_is_told_why_it_has_to_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversation, "SILENCE_SECONDS", 0.05)
    client = Client("/v1/realtime")
    talk = await client.begin()
    client.send({"type": "input_audio_buffer.clear"})
    with pytest.raises(InvalidRequest):
        await talk
    assert client.types == ["session.created", "input_audio_buffer.cleared", "error"]


@pytest.mark.parametrize("frame", ["{", {"type": "begin"}, {"type": "start"}, "[" * 100_000])
async def test_a_mistake_ends_the_call_and_keeps_what_was_heard(frame: object) -> None:
    client = Client()
    talk = await client.begin()
    client.send({"type": "start"})
    client.send(b"\0\1")
    client.send(frame)
    with pytest.raises(InvalidRequest):
        await talk
    assert client.types == ["started", "transcript", "error", "stopped"]
    assert client.call.stopped == ["invalid_request"]


async def test_sound_before_the_call_is_refused() -> None:
    client = Client("/v1/live", "rate=8000")
    client.calls.refusal = TryAgainLater("No place.", retry_after=10)
    talk = await client.begin()
    client.send(b"\0\1")
    with pytest.raises(TryAgainLater):
        await talk
    assert client.told == [{"type": "error", "code": "try_again_later", "message": "No place."}]


async def test_a_call_that_cannot_go_on_is_ended() -> None:
    client = Client()
    talk = await client.begin()
    client.send({"type": "start"})
    client.send(b"\0\1")
    await soon(lambda: "transcript" in client.types)
    client.call.trouble = TooLong("The call is too long.")
    client.send(b"\0\1")
    with pytest.raises(TooLong):
        await talk
    assert client.types[-2:] == ["error", "stopped"]


async def test_an_accident_ends_the_call_too() -> None:
    client = Client()
    talk = await client.begin()
    client.send({"type": "start"})
    await asyncio.sleep(0.01)
    client.call.trouble = RuntimeError("accident")
    client.send(b"\0\1")
    with pytest.raises(RuntimeError):
        await talk
    assert client.call.stopped == [InternalError.code]


async def test_a_call_that_ends_by_itself_ends_the_connection() -> None:
    client = Client()
    talk = await client.begin()
    client.send({"type": "start"})
    await asyncio.sleep(0.01)
    client.call.tell(Stopped(ID, {}, "shutdown"))
    await talk
    assert client.types == ["started", "stopped"]
    assert client.call.stopped == []


async def test_a_client_that_may_resume_its_call_learns_it() -> None:
    client = Client()
    talk = await client.begin()
    client.send({"type": "start"})
    await asyncio.sleep(0.01)
    client.call.tell(Reconnect("token"))
    with pytest.raises(ShuttingDown):
        await talk
    assert client.told[-1] == {"type": "reconnect", "resume": "token"}
    assert client.call.stopped == []


async def test_a_client_that_reads_nothing_loses_partials_first(monkeypatch: pytest.MonkeyPatch) -> None:
    client = Client()
    talk = await client.begin()
    client.send({"type": "start"})
    await asyncio.sleep(0.01)
    client.reads.clear()
    for number in range(3 * MOST_UNREAD):
        client.call.tell(Partial(0, "speaker", 0, str(number), 0.5))
    client.call.tell(HELLO)
    client.send(b"\0\1")
    client.send({"type": "stop"})
    await asyncio.sleep(0.01)
    assert client.call.heard == [b"\0\1"]
    client.reads.set()
    await talk
    assert client.types.count("transcript") == 2
    assert client.types[-1] == "stopped"
    assert len(client.told) <= MOST_UNREAD + 2


async def test_a_client_that_never_reads_does_not_hold_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversation, "FLUSH_SECONDS", 0.05)
    client = Client()
    client.reads.clear()
    talk = await client.begin()
    client.send({"type": "start"})
    client.send({"type": "stop"})
    await talk
    assert client.call.stopped == ["stop"]


async def test_a_connection_may_be_one_track_of_a_call() -> None:
    client = Client("/v1/live", "call=17&channel=1")
    talk = await client.begin()
    client.send("MEDIA_START connection_id:1 format:ulaw optimal_frame_size:160")
    client.send(b"\xff")
    client.send(b"\xfe")
    client.hang_up()
    await talk
    assert client.call.heard == [(1, b"\xff", None), (1, b"\xfe", None)]
    assert client.calls.opened[0][2] == "17"


async def test_openais_client_is_greeted_and_gets_its_items(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversation, "SETTLE_SECONDS", 0.01)
    client = Client("/v1/realtime", "intent=transcription")
    talk = await client.begin()
    off = {"type": "transcription", "audio": {"input": {"turn_detection": None}}}
    client.send({"type": "session.update", "session": off})
    client.send({"type": "input_audio_buffer.append", "audio": "AAAA"})
    client.send({"type": "input_audio_buffer.commit"})
    await soon(lambda: "conversation.item.input_audio_transcription.completed" in client.types)
    client.hang_up()
    await talk
    assert client.types[:2] == ["session.created", "session.updated"]
    assert client.calls.opened[0][1].dialect == "openai"


async def test_a_service_without_keys_needs_none() -> None:
    client = Client()
    talk = await client.begin(ANONYMOUS)
    client.send({"type": "auth", "api_key": "anything"})
    client.hang_up()
    await talk
    assert client.calls.opened[0][0] is ANONYMOUS
