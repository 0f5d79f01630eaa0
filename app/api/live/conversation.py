"""Joins a WebSocket, its dialect and a live call: frames become sound of the call, and its events become frames.

It knows neither what the frames look like nor how the call is kept.
"""

import asyncio
import secrets
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Protocol
from uuid import UUID

from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from app.access.callers import Caller
from app.api.live.dialects.frames import error_frames
from app.api.live.dialects.incoming import (
    Answer,
    Auth,
    Dialect,
    Frame,
    Heard,
    HeardTrack,
    Incoming,
    Settle,
    Start,
    StillThere,
    Stop,
    Warn,
)
from app.api.live.dialects.recognizing import Handshake, dialect_of, realtime_dialect
from app.errors import AppError, InternalError, InvalidRequest, ShuttingDown, Unauthorized
from app.intake.model_names import ModelNames
from app.live.asking import NewCall
from app.live.events import LiveEvent, Partial, Reconnect, Stopped, Warned

AUTH_SECONDS = 5.0
SILENCE_SECONDS = 30.0
"""A client that sends no sound for this long has ended its call."""
LONGEST_HOLD_SECONDS = 3600.0
"""For how long a client may keep a call open without sound."""
SETTLE_SECONDS = 2.0
FLUSH_SECONDS = 5.0
"""How long the end of a connection waits until the client has read the last events."""
MOST_UNREAD = 500


class OpenCall(Protocol):
    """What a conversation needs of a call (`app.live.call.LiveCall`)."""

    @property
    def id(self) -> UUID: ...

    async def hear(self, raw: bytes) -> None: ...

    async def hear_channel(self, channel: int, raw: bytes, at_seconds: float | None = None) -> None: ...

    async def stop(self, reason: str = "stop") -> UUID | None: ...


class Calls(Protocol):
    """What a conversation needs of the calls of this process (`app.live.calls.LiveCalls`)."""

    async def open(
        self, caller: Caller, new: NewCall, send: Callable[[LiveEvent], None], *, shared_as: str | None = None
    ) -> OpenCall: ...


async def converse(
    websocket: WebSocket,
    calls: Calls,
    models: ModelNames,
    *,
    caller: Caller | None,
    identify: Callable[[str], Awaitable[Caller]],
) -> None:
    """Holds a call over an accepted connection, until the client or the call ends.

    `caller` is the caller whose key came with the handshake. If no key came, it is None, and `identify` is called with
    the key of the first frames.

    Raises AppError after the client got it in its own words, so that the connection is closed with the code for it.
    ShuttingDown means that the client may resume the call. The caller of this function closes the connection.
    """
    query = websocket.query_params.multi_items()
    is_beta = "realtime=v1" in websocket.headers.get("openai-beta", "")
    handshake = Handshake(websocket.url.path, query, secrets.token_hex(8), is_beta)
    await _Conversation(websocket, calls, models, handshake, caller, identify).hold()


async def refuse(websocket: WebSocket, models: ModelNames, error: AppError) -> None:
    """Tells a client that is not let in why, in its own words as far as its address says which they are."""
    handshake = Handshake(websocket.url.path, [], "")
    known = realtime_dialect(handshake, models) if handshake.is_realtime else None
    frames = known.refuse(error) if known is not None else error_frames(error)
    with suppress(WebSocketDisconnect, RuntimeError):
        for frame in frames:
            await _send(websocket, frame)


async def _send(websocket: WebSocket, frame: Frame) -> None:
    if isinstance(frame, str):
        await websocket.send_text(frame)
    else:
        await websocket.send_bytes(frame)


class _Outbox:
    """Events and frames that were not sent yet. A client that does not read loses some of them, partials first."""

    def __init__(self) -> None:
        self._waiting: deque[LiveEvent | Sequence[Frame]] = deque()
        self._came = asyncio.Event()
        self._is_closed = False

    def put(self, item: LiveEvent | Sequence[Frame]) -> None:
        if len(self._waiting) >= MOST_UNREAD:
            partial = next((each for each in self._waiting if isinstance(each, Partial)), None)
            self._waiting.remove(partial if partial is not None else self._waiting[0])
        self._waiting.append(item)
        self._came.set()

    def close(self) -> None:
        self._is_closed = True
        self._came.set()

    async def take(self) -> LiveEvent | Sequence[Frame] | None:
        """Returns the next one, or None after the last one."""
        while not self._waiting:
            if self._is_closed:
                return None
            self._came.clear()
            await self._came.wait()
        return self._waiting.popleft()


class _Conversation:
    def __init__(
        self,
        websocket: WebSocket,
        calls: Calls,
        models: ModelNames,
        handshake: Handshake,
        caller: Caller | None,
        identify: Callable[[str], Awaitable[Caller]],
    ) -> None:
        self._websocket = websocket
        self._calls = calls
        self._models = models
        self._handshake = handshake
        self._caller = caller
        self._identify = identify
        self._dialect: Dialect | None = None
        self._call: OpenCall | None = None
        self._outbox = _Outbox()
        self._over = asyncio.Event()  # the call has ended by itself
        self._reconnects = False
        self._settling: set[asyncio.Task[None]] = set()

    async def hold(self) -> None:
        writing = asyncio.create_task(self._write())
        try:
            await self._hold()
        finally:
            for task in self._settling:
                task.cancel()
            self._outbox.close()
            await asyncio.wait([writing], timeout=FLUSH_SECONDS)
            writing.cancel()
            with suppress(asyncio.CancelledError, WebSocketDisconnect, RuntimeError):  # the client is gone
                await writing

    async def _hold(self) -> None:
        try:
            reason = await self._listen()
        except AppError as error:
            self._outbox.put(self._refusal(error))
            await self._end(error.code)
            raise
        except BaseException:
            await self._end(InternalError.code)
            raise
        await self._end(reason)
        if self._reconnects:
            raise ShuttingDown

    async def _end(self, reason: str) -> None:
        call, self._call = self._call, None
        if call is not None and not self._over.is_set():
            await call.stop(reason)

    async def _listen(self) -> str:
        """Reads frames until the call ends. Returns why it does."""
        if self._handshake.is_realtime:
            self._dialect = realtime_dialect(self._handshake, self._models)
            self._outbox.put(self._dialect.greet())
        over = asyncio.create_task(self._over.wait())
        began = heard_at = sound_at = time.monotonic()
        try:
            while True:
                deadline = heard_at + SILENCE_SECONDS if self._caller is not None else began + AUTH_SECONDS
                frame = await self._receive(over, deadline)
                if isinstance(frame, _End):
                    return self._reason(frame)
                if self._dialect is None:
                    self._dialect = dialect_of(self._handshake, frame)
                for incoming in self._dialect.read(frame):
                    if isinstance(incoming, Stop):
                        if self._call is None:
                            raise InvalidRequest("No call was begun. Send the first message of a call before its end.")
                        return "stop"
                    await self._take(incoming)
                    now = time.monotonic()
                    if self._call is not None and isinstance(incoming, Heard | HeardTrack) and incoming.raw:
                        heard_at = sound_at = now
                    elif self._call is not None and isinstance(incoming, StillThere):
                        heard_at = max(heard_at, min(now, sound_at + LONGEST_HOLD_SECONDS))
        finally:
            over.cancel()

    def _reason(self, end: "_End") -> str:
        if end.reason == "silence" and self._caller is None:
            raise Unauthorized(
                "No API key came in time. Send it as the header `Authorization: Bearer`, as a token in `?token=`, or "
                "as `api_key` in the first message."
            )
        if end.reason == "silence" and self._call is None:
            raise InvalidRequest(f"No sound came for {SILENCE_SECONDS:g} s.")
        return end.reason

    async def _receive(self, over: asyncio.Task[bool], deadline: float) -> "Frame | _End":
        receiving = asyncio.create_task(self._websocket.receive())
        try:
            timeout = max(0.0, deadline - time.monotonic())
            done, _ = await asyncio.wait({receiving, over}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not receiving.done():
                receiving.cancel()
        if receiving not in done:
            return _End("over" if over in done else "silence")
        message = receiving.result()
        if message["type"] == "websocket.disconnect":
            return _End("disconnect")
        frame: Frame | None = message.get("text")
        return message.get("bytes") or b"" if frame is None else frame

    async def _take(self, incoming: Incoming) -> None:
        match incoming:
            case Auth(key=key):
                if self._caller is None:
                    self._caller = await self._identify(key)
            case Start():
                await self._start(incoming)
            case Heard(raw=raw):
                await self._open_call.hear(raw)
            case HeardTrack(channel=channel, raw=raw, at_seconds=at_seconds):
                await self._open_call.hear_channel(channel, raw, at_seconds)
            case Warn(code=code, message=message, channel=channel):
                self._outbox.put(Warned(code, message, channel))
            case Answer(frames=frames):
                self._outbox.put(frames)
            case Settle():
                task = asyncio.create_task(self._settle())
                self._settling.add(task)
                task.add_done_callback(self._settling.discard)

    @property
    def _open_call(self) -> OpenCall:
        if self._call is None:
            raise InvalidRequest("Sound came before the call was begun.")
        return self._call

    async def _start(self, start: Start) -> None:
        if self._caller is None:
            raise Unauthorized
        self._call = await self._calls.open(self._caller, start.call, self._put, shared_as=start.shared_as)

    def _put(self, event: LiveEvent) -> None:
        self._outbox.put(event)
        if isinstance(event, Stopped | Reconnect):
            self._reconnects = isinstance(event, Reconnect)
            self._over.set()

    async def _settle(self) -> None:
        await asyncio.sleep(SETTLE_SECONDS)
        assert self._dialect is not None
        self._outbox.put(self._dialect.settle())

    def _refusal(self, error: AppError) -> Sequence[Frame]:
        if self._dialect is not None:
            return self._dialect.refuse(error)
        return error_frames(error)

    async def _write(self) -> None:
        """Sends what waits in the outbox, until it is closed and empty, or the connection is gone."""
        while (item := await self._outbox.take()) is not None:
            frames = item if isinstance(item, Sequence) else self._frames(item)
            for frame in frames:
                if self._websocket.application_state != WebSocketState.CONNECTED:
                    return
                await _send(self._websocket, frame)

    def _frames(self, event: LiveEvent) -> Sequence[Frame]:
        assert self._dialect is not None
        return self._dialect.write(event)


class _End:
    def __init__(self, reason: str) -> None:
        self.reason = reason
