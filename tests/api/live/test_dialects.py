"""Clients of each kind against a running service, whose engine is a double that hears an utterance in each second."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from openai import AsyncOpenAI
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from app.api.live.dialects.asking import new_call
from app.database.connections import Database
from app.errors import InvalidRequest
from testing.listening import Listening, listening
from tests.conftest import ALICE

SECOND_OF_PHONE = bytes(range(100, 180)) * 100
SECOND_WIDE = bytes(range(160)) * 200


@pytest.fixture
async def service(database: Database, tmp_path: Path) -> AsyncIterator[Listening]:
    async with listening(database, tmp_path, api_keys=f"alice:{ALICE}", model_aliases="qwen3-asr-1.7b=base") as service:
        service.client.headers["Authorization"] = f"Bearer {ALICE}"
        yield service


def call(service: Listening, path: str = "/v1/live", *, has_key: bool = True) -> connect:
    headers = {"Authorization": f"Bearer {ALICE}"} if has_key else {}
    return connect(f"ws://127.0.0.1:{service.port}{path}", additional_headers=headers, proxy=None)


async def told(socket: ClientConnection) -> list[dict[str, Any]]:
    """All objects until the service closes the connection."""
    objects = []
    with suppress(ConnectionClosed):
        async for frame in socket:
            objects.append(json.loads(frame))  # noqa: PERF401  an error comes after them
    return objects


async def job(service: Listening) -> dict[str, Any]:
    """The only transcription, when it is there."""
    async with asyncio.timeout(20):
        while True:
            items = (await service.client.get("/v1/transcriptions")).json()["items"]
            if items:
                one: dict[str, Any] = (await service.client.get(items[0]["links"]["self"])).json()
                return one
            await asyncio.sleep(0.05)


async def sound_of(service: Listening, job: dict[str, Any]) -> bytes:
    recording = await service.client.get(job["links"]["self"] + "/audio")
    assert recording.status_code == 200, recording.text
    return recording.content


async def test_a_script_that_begins_with_auth(service: Listening) -> None:
    async with call(service, has_key=False) as socket:
        await socket.send(json.dumps({"type": "auth", "api_key": ALICE, "model": "qwen3-asr-1.7b"}))
        for at in range(0, len(SECOND_WIDE), 3200):
            await socket.send(SECOND_WIDE[at : at + 3200])
        texts = []
        async for frame in socket:
            answer = json.loads(frame)
            texts.append(answer["text"])
            if answer["type"] == "transcript":
                break
    assert texts[-1] == "second 0 of channel 0"
    ended = await job(service)
    assert ended["options"]["model"] == "base"
    assert (await sound_of(service, ended)).endswith(SECOND_WIDE)


async def test_a_dialogue_in_our_own_dialect(service: Listening) -> None:
    start = {"type": "start", "encoding": "mulaw", "channels": 2, "channel_labels": ["agent", "customer"]}
    async with call(service) as socket:
        await socket.send(json.dumps({**start, "external_id": "7", "metadata": {"queue": "orders"}}))
        await socket.send(SECOND_OF_PHONE * 2)
        await socket.send(json.dumps({"type": "stop"}))
        events = await told(socket)
    assert socket.close_code == 1000
    assert events[0]["type"] == "started"
    assert [(each["speaker"], each["text"]) for each in events if each["type"] == "transcript"] == [
        ("agent", "second 0 of channel 0"),
        ("customer", "second 0 of channel 1"),
    ]
    ended = await job(service)
    assert events[-1] == {**events[-1], "type": "stopped", "id": ended["id"], "reason": "stop"}
    assert events[0]["id"] == ended["id"]
    assert (ended["external_id"], ended["metadata"]) == ("7", {"queue": "orders"})
    assert ended["options"]["channels"] == "split"
    assert (await sound_of(service, ended)).endswith(SECOND_OF_PHONE * 2)


def _stream(track: str, sound: bytes) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, at in enumerate(range(0, len(sound), 160)):
        payload = base64.b64encode(sound[at : at + 160]).decode()
        media = {"track": track, "chunk": str(number + 1), "timestamp": str(20 * number), "payload": payload}
        yield 20 * number, {"event": "media", "media": media, "streamSid": "MZ2"}


async def test_a_stream_of_twilio_with_media_out_of_order(service: Listening) -> None:
    start = {
        "callSid": "CA3",
        "streamSid": "MZ2",
        "tracks": ["inbound", "outbound"],
        "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
        "customParameters": {"token": ALICE, "language": "en", "external_id": "7", "events": "true"},
    }
    caller, agent = SECOND_OF_PHONE, SECOND_OF_PHONE[::-1]
    media = sorted([*_stream("inbound", caller), *_stream("outbound", agent)], key=lambda each: each[0])
    media[20:24] = reversed(media[20:24])
    async with call(service, has_key=False) as socket:
        await socket.send(json.dumps({"event": "connected", "protocol": "Call", "version": "1.0.0"}))
        await socket.send(json.dumps({"event": "start", "start": start, "streamSid": "MZ2"}))
        for _, message in media:
            await socket.send(json.dumps(message))
        await socket.send(json.dumps({"event": "stop", "stop": {"callSid": "CA3"}, "streamSid": "MZ2"}))
        events = await told(socket)
    assert socket.close_code == 1000
    assert {each["speaker"] for each in events if each["type"] == "transcript"} == {"customer", "agent"}
    ended = await job(service)
    assert ended["metadata"] == {"callSid": "CA3", "streamSid": "MZ2"}
    assert ended["options"]["channel_labels"] == ["customer", "agent"]
    sound = (await sound_of(service, ended))[-16_000:]
    assert (sound[::2], sound[1::2]) == (caller, agent)


async def test_freeswitch_hangs_up(service: Listening) -> None:
    async with call(service, "/v1/live?rate=8000&channels=2&external_id=7") as socket:
        await socket.send(json.dumps({"uuid": "9e1b", "number": "100"}))
        await socket.send(SECOND_WIDE)
    ended = await job(service)
    assert (ended["external_id"], ended["metadata"]) == ("7", {"uuid": "9e1b", "number": "100"})
    assert ended["options"]["channels"] == "split"
    assert (await sound_of(service, ended)).endswith(SECOND_WIDE)


async def test_two_connections_of_asterisk_become_one_call(service: Listening) -> None:
    first = "MEDIA_START connection_id:{} channel:WebSocket/x/0x1 format:ulaw optimal_frame_size:160"
    url = "/v1/live?call=1700.1&channel={}&channel_labels=customer,agent"
    async with call(service, url.format(0)) as customer, call(service, url.format(1)) as agent:
        await customer.send(first.format("a"))
        await agent.send(first.format("b"))
        for at in range(0, 8000, 160):
            await customer.send(SECOND_OF_PHONE[at : at + 160])
            await agent.send(SECOND_OF_PHONE[at : at + 160])
    ended = await job(service)
    assert ended["options"]["channel_labels"] == ["customer", "agent"]
    sound = (await sound_of(service, ended))[58:]
    assert len(sound) in range(15_000, 18_001)
    assert len((await service.client.get("/v1/transcriptions")).json()["items"]) == 1


@pytest.mark.parametrize(("credentials", "code"), [(f"calls:{ALICE}", 1000), (f"{ALICE}:", 1008), ("\xff", 1008)])
async def test_a_phone_system_that_sends_only_a_password(service: Listening, credentials: str, code: int) -> None:
    password = base64.b64encode(credentials.encode("latin-1")).decode()
    url = f"ws://127.0.0.1:{service.port}/v1/live?rate=8000"
    async with connect(url, additional_headers={"Authorization": f"Basic {password}"}, proxy=None) as socket:
        with suppress(ConnectionClosed):
            await socket.send(SECOND_OF_PHONE)
            await socket.send(json.dumps({"type": "stop"}))
        await told(socket)
    assert socket.close_code == code


@pytest.mark.parametrize("by_hand", [False, True], ids=["turns", "commits"])
async def test_openais_client(service: Listening, by_hand: bool) -> None:
    client = AsyncOpenAI(api_key=ALICE, base_url=f"http://127.0.0.1:{service.port}/v1")
    turns = None if by_hand else {"type": "server_vad", "silence_duration_ms": 500}
    sound = {
        "format": {"type": "audio/pcm", "rate": 24_000},
        "transcription": {"model": "gpt-4o-transcribe", "language": "en"},
        "turn_detection": turns,
    }
    kinds, texts = [], []
    async with client.realtime.connect(extra_query={"intent": "transcription"}) as connection:
        session: Any = {"type": "transcription", "audio": {"input": sound}}
        await connection.session.update(session=session)
        for _ in range(12):
            await connection.input_audio_buffer.append(audio=base64.b64encode(bytes(4800)).decode())
        if by_hand:
            await connection.input_audio_buffer.commit()
        async with asyncio.timeout(20):
            async for event in connection:
                kinds.append(event.type)
                if event.type == "conversation.item.input_audio_transcription.completed":
                    texts.append(event.transcript)
                    break
    assert texts == ["second 0 of channel 0"]
    assert kinds[:2] == ["session.created", "session.updated"]
    assert "input_audio_buffer.committed" in kinds
    assert "conversation.item.added" in kinds
    assert ("input_audio_buffer.speech_started" in kinds) is not by_hand
    ended = await job(service)
    assert (ended["options"]["model"], ended["options"]["language"]) == ("base", "en")
    await client.close()


async def test_openais_client_with_a_wrong_key(service: Listening) -> None:
    client = AsyncOpenAI(api_key="wrong", base_url=f"http://127.0.0.1:{service.port}/v1")
    async with client.realtime.connect(extra_query={"intent": "transcription"}) as connection:
        event = await connection.recv()
        assert event.type == "error"
        assert event.error.code == "invalid_api_key"
        with pytest.raises(ConnectionClosed) as closed:
            await connection.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1008
    await client.close()


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        ([{"type": "begin"}], 1007),
        ([{"type": "start", "language": "klingon"}], 1007),
        ([{"type": "start", "model": "unknown"}], 1007),
        ([{"type": "start"}, "["], 1007),
        ([{"type": "start"}, "{" + '"a":{' * 100_000], 1007),
        ([{"type": "start", "metadata": {"a": "\0"}}], 1007),
        ([{"event": "start", "start": {"tracks": 7, "mediaFormat": 7}}], 1007),
        ([b"\0\0"], 1007),
    ],
)
async def test_a_mistake_has_a_clear_end(service: Listening, frames: list[Any], code: int) -> None:
    async with call(service) as socket:
        for frame in frames:
            await socket.send(frame if isinstance(frame, str | bytes) else json.dumps(frame))
        events = await told(socket)
    (error,) = [event for event in events if event["type"] == "error"]
    assert error["code"] == "invalid_request"
    assert all(event["type"] == "stopped" for event in events[events.index(error) + 1 :])
    assert socket.close_code == code


def test_a_live_call_cannot_tell_voices_apart() -> None:
    with pytest.raises(InvalidRequest) as caught:
        new_call({"diarize": True}, "test")
    assert [error.field for error in caught.value.errors] == ["diarize"]
