"""Breaks live calls in many ways. Each must end clearly, and the sound until then must become a transcription."""

import asyncio
import base64
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from proofs.bench.measure import Meter, resident_mib
from proofs.chaos.figures import Figure
from proofs.live.calls import END_LIMIT_SECONDS, Played, Recording, calling, listen, play
from proofs.live.speed import bytes_lost, seconds_lost
from testing.recordings import SAMPLE_CALL
from testing.service import Service, eventually, serving

MODEL = "tiny.en"  # what is recognized does not matter here
MOST_LOST_SECONDS = 1.0
MOST_GROWTH_MIB = 200.0
ULAW_SILENCE = b"\xff"
PHONE_RATE = 8000
MEBIBYTE = 1024**2
FRAME = PHONE_RATE // 50
GARBLED, TOO_MANY_GARBLED = 10, 200
SETTINGS = {"MODEL": MODEL, "KEEP_AUDIO_DAYS": "1", "MAX_LIVE": "6"}

Fault = Callable[[Service], Awaitable[list[Figure]]]


async def faults(folder: Path, *, seconds: float, slow_seconds: float) -> list[Figure]:
    """Breaks one call after the other on one service. `seconds` of the sample call are played in most of them."""
    sample = Recording.read(SAMPLE_CALL).first(seconds)
    figures: list[Figure] = []
    with serving(folder, **SETTINGS) as service:
        figures += await cut(service, sample)
        figures += await paced(service, sample, "10 x too fast", 10.0)
        figures += await paced(service, sample.first(slow_seconds), "10 x too slow", 0.1)
        figures += await wrong_rate(service, sample)
        figures += await garbled(service, sample)
        figures += await shuffled(service, sample)
        figures += await large_frames(service, sample)
    return figures


async def killed(folder: Path, *, seconds: float) -> list[Figure]:
    """Kills the process in the middle of a call. The next process on the same disk makes the transcription."""
    sample = Recording.read(SAMPLE_CALL).first(seconds)
    with serving(folder, **SETTINGS) as service:
        playing = asyncio.create_task(play(service, sample, external_id="killed"))
        await asyncio.sleep(seconds / 2)
        service.kill()
        with suppress(ConnectionClosed, OSError):
            await playing
    began = time.monotonic()
    with serving(folder, **SETTINGS) as service:
        job = await asyncio.to_thread(job_of, service, "killed")
        found_after = time.monotonic() - began
        kept = service.client.get(f"/v1/transcriptions/{job['id']}/audio").content
        sound = kept[kept.index(b"data") + 8 :]
        ended = await asyncio.to_thread(service.ended, job)
    lost = seconds / 2 - len(sound) / sample.bytes_per_second
    return [
        Figure.within("seconds of sound that a killed process lost", lost, MOST_LOST_SECONDS),
        Figure.none("recordings with other sound than was sent", 0 if sample.raw.startswith(sound) else 1),
        Figure.none("transcriptions of it that did not complete", ended["status"] != "completed"),
        Figure.found("seconds from the start of the next process to its job", found_after),
    ]


async def an_hour(folder: Path, *, seconds: float) -> list[Figure]:
    """Sends an hour of silence, and an hour of speech, as fast as the service takes them."""
    folder.mkdir(exist_ok=True)
    return [
        *await _fast_forward(folder / "silence", "silence", ULAW_SILENCE * PHONE_RATE, seconds, waits=True),
        *await _fast_forward(folder / "speech", "speech", Recording.read(SAMPLE_CALL).raw, seconds, waits=False),
    ]


async def cut(service: Service, sample: Recording) -> list[Figure]:
    """The line breaks: the connection is aborted, without a close frame."""
    async with calling(service) as socket:
        await socket.send(json.dumps(sample.start | {"external_id": "cut"}))
        await socket.recv()
        await socket.send(sample.raw)
        await (await socket.ping())  # then the service has read the sound
        socket.transport.abort()
    return await _kept(service, "socket cut", "cut", sample.raw)


async def paced(service: Service, sample: Recording, name: str, pace: float) -> list[Figure]:
    played = await play(service, sample, pace=pace, external_id=name)
    lost = await asyncio.to_thread(seconds_lost, service, played, sample)
    return [Figure.none(f"{name}: no clear end", not played.has_ended), Figure.none(f"{name}: seconds lost", lost)]


async def wrong_rate(service: Service, sample: Recording) -> list[Figure]:
    """The client says 16 kHz and sends 8 kHz. The text is nonsense, but the call ends as others do."""
    declared = Recording(sample.encoding, 2 * sample.rate, sample.channels, sample.raw)
    return await paced(service, declared, "wrong rate declared", 10.0)


async def garbled(service: Service, sample: Recording) -> list[Figure]:
    """Some base64 is garbage, and the call goes on. Then all is garbage, and the call ends with an error."""
    sound = sample.raw[: FRAME * 100]
    async with calling(service) as socket:
        await _begin_stream(socket, "garbled")
        await _send_media(socket, ["?"] * GARBLED)
        await _send_media(socket, [base64.b64encode(each).decode() for each in _frames(sound)])
        with suppress(ConnectionClosed):
            await _send_media(socket, ["?"] * TOO_MANY_GARBLED)
        await _closed(socket)
        code = socket.close_code
    return [
        Figure("garbage base64: close code", float(code or 0), "1007", code == 1007),
        *await _kept(service, "garbage base64", "garbled", sound),
    ]


async def shuffled(service: Service, sample: Recording) -> list[Figure]:
    """Neighbours among the pieces of a stream change places. Their timestamps say where they belong."""
    sound = sample.raw[: FRAME * 100]
    pieces = [*enumerate(_frames(sound))]
    swapped = [each for pair in zip(pieces[1::2], pieces[::2], strict=True) for each in pair]
    async with calling(service) as socket:
        await _begin_stream(socket, "shuffled")
        for number, raw in swapped:
            media = {"track": "inbound", "timestamp": str(20 * number), "payload": base64.b64encode(raw).decode()}
            await socket.send(json.dumps({"event": "media", "media": media}))
        await socket.send(json.dumps({"event": "stop"}))
        await _closed(socket)
    return await _kept(service, "out-of-order media", "shuffled", sound)


async def large_frames(service: Service, sample: Recording) -> list[Figure]:
    """A frame of 1 MiB is taken, and one that is a byte larger ends the call."""
    one = (sample.raw * (MEBIBYTE // len(sample.raw) + 1))[:MEBIBYTE]
    async with calling(service) as socket:
        await socket.send(json.dumps(sample.start | {"external_id": "large"}))
        await socket.send(one)
        with suppress(ConnectionClosed):
            await socket.send(one + b"\xff")
        await _closed(socket)
        code = socket.close_code
    return [
        Figure("frame of more than 1 MiB: close code", float(code or 0), "1009", code == 1009),
        *await _kept(service, "1 MiB frames", "large", one),
    ]


async def _fast_forward(folder: Path, name: str, piece: bytes, seconds: float, *, waits: bool) -> list[Figure]:
    """Without `waits`, the connection is closed at the end, so that nothing has to be recognized until then."""
    sound = piece * round(seconds * PHONE_RATE / len(piece) + 1)
    recording = Recording("mulaw", PHONE_RATE, 1, sound[: round(seconds * PHONE_RATE)])
    with serving(folder, **SETTINGS) as service:
        process = psutil.Process(service.process.pid)
        await play(service, recording.first(60.0), pace=None, frame_seconds=1.0)  # the buffers have their size then
        before = resident_mib(process)
        began = time.monotonic()
        with Meter([process]) as meter:
            if waits:
                played = await play(service, recording, pace=None, frame_seconds=1.0)
                lost = await asyncio.to_thread(seconds_lost, service, played, recording)
                missed = not played.has_ended
            else:
                lost, missed = await _send_and_leave(service, recording, name)
        took = time.monotonic() - began
    return [
        Figure.none(f"{seconds / 60:.0f} minutes of {name}: no clear end", missed),
        Figure.none(f"{seconds / 60:.0f} minutes of {name}: seconds lost", lost),
        Figure.within(f"{seconds / 60:.0f} minutes of {name}: growth, MiB", meter.peak_mib - before, MOST_GROWTH_MIB),
        Figure.found(f"{seconds / 60:.0f} minutes of {name}: seconds that it took", took),
    ]


async def _send_and_leave(service: Service, recording: Recording, name: str) -> tuple[float, bool]:
    async with calling(service) as socket:
        await socket.send(json.dumps(recording.start | {"external_id": name}))
        played = Played()
        reading = asyncio.create_task(listen(socket, played, time.monotonic()))
        for at in range(0, len(recording.raw), PHONE_RATE):
            await socket.send(recording.raw[at : at + PHONE_RATE])
    async with asyncio.timeout(END_LIMIT_SECONDS):
        await reading
    job = await asyncio.to_thread(job_of, service, name)
    missing = await asyncio.to_thread(bytes_lost, service, job["id"], recording.raw)
    await asyncio.to_thread(service.client.post, f"{job['links']['self']}/cancel")
    return missing / recording.bytes_per_second, not played.of_type("started") or job["id"] != played.id


def _frames(sound: bytes) -> Sequence[bytes]:
    return [sound[at : at + FRAME] for at in range(0, len(sound), FRAME)]


async def _begin_stream(socket: ClientConnection, external_id: str) -> None:
    start = {
        "tracks": ["inbound"],
        "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": PHONE_RATE, "channels": 1},
        "customParameters": {"external_id": external_id},
    }
    await socket.send(json.dumps({"event": "connected"}))
    await socket.send(json.dumps({"event": "start", "start": start}))


async def _send_media(socket: ClientConnection, payloads: Sequence[str]) -> None:
    for payload in payloads:
        await socket.send(json.dumps({"event": "media", "media": {"track": "inbound", "payload": payload}}))


async def _closed(socket: ClientConnection) -> None:
    async with asyncio.timeout(60):
        with suppress(ConnectionClosed):
            while True:
                await socket.recv()


async def _kept(service: Service, name: str, external_id: str, sound: bytes) -> list[Figure]:
    """Whether the sound until the fault became a transcription that completed."""
    job = await asyncio.to_thread(job_of, service, external_id)
    lost = await asyncio.to_thread(bytes_lost, service, job["id"], sound)
    ended = await asyncio.to_thread(service.ended, job)
    return [
        Figure.none(f"{name}: bytes lost", lost),
        Figure.none(f"{name}: transcriptions that did not complete", ended["status"] != "completed"),
    ]


def job_of(service: Service, external_id: str) -> dict[str, Any]:
    """The transcription that a live call has become, as soon as it is there."""
    path = f"/v1/transcriptions?external_id={external_id}"
    eventually(lambda: bool(service.read(path)["items"]))
    [job] = service.read(path)["items"]
    return service.read(job["links"]["self"])
