"""Plays recordings as live calls over a real WebSocket, and keeps what the service tells and when."""

import asyncio
import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from testing.service import Service

FRAME_SECONDS = 0.02
"""Phone systems send a frame of 20 ms when it was spoken."""
ENCODINGS = {1: "pcm_s16le", 6: "alaw", 7: "mulaw"}
END_LIMIT_SECONDS = 120.0


@dataclass(frozen=True)
class Recording:
    """The sound of a WAV file as it stands there, with its channels interleaved."""

    encoding: str
    rate: int
    channels: int
    raw: bytes

    @classmethod
    def read(cls, path: Path) -> "Recording":
        content, at = path.read_bytes(), 12
        tag = channels = rate = 0
        while True:
            name, size = struct.unpack_from("<4sI", content, at)
            if name == b"fmt ":
                tag, channels, rate = struct.unpack_from("<HHI", content, at + 8)
            if name == b"data":
                return cls(ENCODINGS[tag], rate, channels, content[at + 8 : at + 8 + size])
            at += 8 + size + size % 2

    @property
    def bytes_per_second(self) -> int:
        return self.rate * self.channels * (2 if self.encoding == "pcm_s16le" else 1)

    @property
    def seconds(self) -> float:
        return len(self.raw) / self.bytes_per_second

    def first(self, seconds: float) -> "Recording":
        frames = round(seconds * self.rate)
        return Recording(
            self.encoding, self.rate, self.channels, self.raw[: frames * self.bytes_per_second // self.rate]
        )

    @property
    def start(self) -> dict[str, Any]:
        return {"type": "start", "encoding": self.encoding, "sample_rate": self.rate, "channels": self.channels}


@dataclass(frozen=True)
class Told:
    """An event, and the seconds from the first sample of the call until it came."""

    at: float
    event: dict[str, Any]


@dataclass
class Played:
    """A live call that was played. `sent` counts the bytes of its sound."""

    told: list[Told] = field(default_factory=list)
    sent: int = 0
    close_code: int | None = None

    def of_type(self, kind: str) -> Sequence[Told]:
        return [each for each in self.told if each.event["type"] == kind]

    @property
    def id(self) -> str:
        call_id: str = self.of_type("started")[0].event["id"]
        return call_id

    @property
    def has_ended(self) -> bool:
        """Whether the service said that the call has ended, and that it became a transcription."""
        return any(each.event["id"] is not None for each in self.of_type("stopped"))


def calling(service: Service, path: str = "/v1/live") -> connect:
    url = f"{service.url.replace('http', 'ws', 1)}{path}"
    return connect(url, proxy=None, max_queue=None, open_timeout=30)


async def play(
    service: Service,
    recording: Recording,
    *,
    pace: float | None = 1.0,
    frame_seconds: float = FRAME_SECONDS,
    begin_after: float = 0.0,
    **fields: Any,
) -> Played:
    """Sends a recording `pace` times as fast as it was spoken, or as fast as the service takes it, and stops."""
    await asyncio.sleep(begin_after)
    async with calling(service) as socket:
        await socket.send(json.dumps(recording.start | fields))
        played = Played()
        clock = asyncio.get_running_loop()
        began = clock.time()
        reading = asyncio.create_task(listen(socket, played, began))
        await _send(socket, recording, played, began, pace, frame_seconds)
        await socket.send(json.dumps({"type": "stop"}))
        async with asyncio.timeout(END_LIMIT_SECONDS):
            await reading
    return played


async def listen(socket: ClientConnection, played: Played, began: float) -> None:
    """Keeps events until the service closes the connection."""
    clock = asyncio.get_running_loop()
    try:
        while True:
            event = json.loads(await socket.recv())
            played.told.append(Told(clock.time() - began, event))
    except ConnectionClosed:
        played.close_code = socket.close_code


async def _send(
    socket: ClientConnection,
    recording: Recording,
    played: Played,
    began: float,
    pace: float | None,
    frame_seconds: float,
) -> None:
    clock = asyncio.get_running_loop()
    size = round(frame_seconds * recording.rate) * recording.bytes_per_second // recording.rate
    for at in range(0, len(recording.raw), size):
        frame = recording.raw[at : at + size]
        if pace is not None:  # a frame is sent when its last sample was spoken
            spoken = (at + len(frame)) / recording.bytes_per_second
            await asyncio.sleep(max(0.0, began + spoken / pace - clock.time()))
        await socket.send(frame)
        played.sent += len(frame)
