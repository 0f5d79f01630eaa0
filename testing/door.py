"""Asks the OpenAI-shaped door as its clients do: with a form, and with a connection that waits for the answer."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import UUID

import httpx

from testing.forms import END, FORM_TYPE, field, file

TRANSCRIPTIONS = "/v1/audio/transcriptions"
MODEL = "whisper-1"
FOR_NOW = (429, 503)  # the client may repeat the request after `Retry-After` seconds

Given = TypeVar("Given")


class Refused(Exception):
    """Says that the door did not answer 200."""

    def __init__(self, response: httpx.Response) -> None:
        super().__init__(f"{response.status_code}: {response.text}")
        self.response = response


@dataclass(frozen=True)
class Answer:
    """An answer of the door. `at` is when its last byte was read."""

    id: UUID
    content: bytes
    at: datetime

    @property
    def json(self) -> dict[str, Any]:
        body = json.loads(self.content)
        assert isinstance(body, dict)
        return body

    @property
    def text(self) -> str:
        return str(self.json["text"])


@dataclass(frozen=True)
class Event:
    """An event of a stream. `at` is when its line was read."""

    at: datetime
    data: dict[str, Any]

    @property
    def type(self) -> str:
        return str(self.data.get("type"))


@dataclass(frozen=True)
class Stream:
    id: UUID
    events: list[Event]

    def of_type(self, kind: str) -> list[Event]:
        """Returns the events of a type, without the common beginning of all types: `delta`, `segment`, `done`."""
        return [event for event in self.events if event.type == f"transcript.text.{kind}"]


async def ask(client: httpx.AsyncClient, recording: bytes, name: str = "call.wav", **fields: Any) -> Answer:
    """Sends a recording with these form fields, and waits for the answer. Raises Refused."""
    response = await client.post(TRANSCRIPTIONS, files={"file": (name, recording)}, data={"model": MODEL, **fields})
    at = datetime.now(UTC)
    if response.status_code != 200:
        raise Refused(response)
    return Answer(UUID(response.headers["X-Callscribe-Id"]), response.content, at)


async def listen(client: httpx.AsyncClient, recording: bytes, **fields: Any) -> Stream:
    """Sends a recording, and reads the events of its stream until the stream ends. Raises Refused."""
    form = {"model": MODEL, "stream": "true", **fields}
    async with client.stream("POST", TRANSCRIPTIONS, files={"file": ("call.wav", recording)}, data=form) as response:
        if response.status_code != 200:
            await response.aread()
            raise Refused(response)
        events = [
            Event(datetime.now(UTC), json.loads(line.removeprefix("data: ")))
            async for line in response.aiter_lines()
            if line.startswith("data: ")
        ]
    return Stream(UUID(response.headers["X-Callscribe-Id"]), events)


async def patiently(send: Callable[[], Awaitable[Given]]) -> Given:
    """Repeats a request that the door refuses for now, as often as it must, as OpenAI's client library does."""
    while True:
        try:
            return await send()
        except Refused as refused:
            if refused.response.status_code not in FOR_NOW:
                raise
            await asyncio.sleep(float(refused.response.headers["Retry-After"]))


@asynccontextmanager
async def connected(port: int, recording: bytes, key: str | None = None, **fields: str) -> AsyncIterator[None]:
    """Sends a recording on a connection of its own. The client hangs up at the end of the block."""
    body = b"".join(field(name, value) for name, value in {"model": MODEL, **fields}.items()) + file(recording) + END
    authorization = f"Authorization: Bearer {key}\r\n" if key else ""
    head = (
        f"POST {TRANSCRIPTIONS} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{authorization}"
        f"Content-Type: {FORM_TYPE}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(head.encode() + body)
        await writer.drain()
        yield
    finally:
        writer.close()
        await writer.wait_closed()
