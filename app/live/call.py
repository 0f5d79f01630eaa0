"""One live call while this process has its connection: its sound goes to the spool, and its text to the client.

A ticker takes the sound that came. It writes it to the spool first, and then to the files of samples from which the
engine reads. So neither the length of a call nor a client that sends too fast costs memory.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from functools import partial
from uuid import UUID

import structlog

from app.audio.live_sound import Sound
from app.audio.pcm import SAMPLE_RATE
from app.errors import AppError, InsufficientStorage, InvalidRequest, TooLarge, TooLong, Unavailable
from app.live import events
from app.live.asking import NewCall
from app.live.events import LiveEvent
from app.live.rows import News
from app.live.sound_files import SoundFiles, open_sound_files
from app.live.spool import ANSWER_SECONDS, Spool
from app.live.text import redacted_text
from app.live.tracks import Tracks
from app.process.places import Rank
from app.process.tasks import within
from app.process.threads import BoundedThreads
from app.speech.batching.batcher import EngineStopped
from app.speech.call.assemble import label_of
from app.speech.engine import Listener, LiveTranscriber
from app.speech.live import events as heard
from app.storage.disk import FreeSpace, is_disk_full
from app.storage.workspace import Workspace
from app.transcripts.transcript import Options

TICK_SECONDS = 0.1
SYNC_SECONDS = 1.0
SPACE_SECONDS = 5.0
MOST_WAITING_BYTES = 4 * 1024 * 1024
"""Of sound that is not written yet. A client whose sound comes faster than the disk takes it has to wait."""
HEADER_BYTES = 1024
FURTHEST_SECONDS = 60.0
"""A piece of a track may be so far ahead of the clock."""
MARGIN_SECONDS = 2.0
"""A container ends the call so long before the limit, because some of its sound is not decoded yet."""
MODEL_AWAY = (
    "The model cannot be used at the moment, so text may be missing. The call is recorded, and transcribed later."
)
FINALS_SECONDS = 10.0
"""How long the end of a call waits for its last texts. The transcript does not depend on them."""
SHUTDOWN, SHUTDOWN_SECONDS = "shutdown", 2.0

log = structlog.stdlib.get_logger("callscribe.live")


class LiveCall:
    """`send` gets all events of the call, on the event loop. It must not raise an error, and must not wait.

    `end` makes the spool into a job when the call has ended for the reason that it gets, and returns the last event.
    """

    def __init__(
        self,
        spool: Spool,
        new: NewCall,
        engine: LiveTranscriber,
        threads: BoundedThreads,
        free_space: FreeSpace,
        *,
        rank: Rank,
        most_bytes: int,
        most_seconds: float,
        links: dict[str, str],
        resume_token: str | None,
        last_number: int,
        send: Callable[[LiveEvent], None],
        end: Callable[["LiveCall", str], Awaitable[events.Stopped]],
    ) -> None:
        self.id: UUID = spool.id
        self.spool = spool
        self.resume_token = resume_token
        self.legs = 1
        self.news = News(heard_seconds=spool.seconds, changed=True)
        self._new = new
        self._engine = engine
        self._threads = threads
        self._free_space = free_space
        self._rank = rank
        self._most_bytes, self._most_seconds = most_bytes, most_seconds
        self._links = links
        self._number = last_number
        self._first_utterance = last_number  # those before an interruption have lower numbers
        self._send_to_client = send
        self._end = end
        sound = self.sound
        self._tracks = None if sound.encoding == "container" else Tracks(sound)
        self._waiting = bytearray()
        self._came, self._taken = asyncio.Event(), asyncio.Event()
        self._bytes = spool.sound_bytes
        self._synced_at = self._space_at = time.monotonic()
        self._began = self._synced_at - spool.seconds
        self._closed = self._is_left = False
        self._trouble: AppError | None = None
        self._is_model_away = False
        self._parts = AsyncExitStack()
        self._files: SoundFiles | None = None
        self._listeners: list[Listener] = []
        self._ticking: asyncio.Task[None] | None = None
        self._syncing: asyncio.Task[None] | None = None
        self._stopping: asyncio.Task[UUID | None] | None = None

    @property
    def sound(self) -> Sound:
        return self.spool.promise.sound

    @property
    def options(self) -> Options:
        return self.spool.promise.job.options

    @property
    def channels(self) -> int:
        return self.sound.channels if self._files is None else max(1, len(self._files.files))

    async def begin(self, workspace: Workspace) -> None:
        """Opens the files of samples, and informs the client that the call is open. Raises OSError."""
        try:
            folder = await self._parts.enter_async_context(workspace.folder())
            opening = open_sound_files(
                self.sound,
                folder,
                self._threads,
                most_seconds=max(MARGIN_SECONDS, self._most_seconds - MARGIN_SECONDS),
                skipped_seconds=self.spool.seconds,
            )
            self._files = await self._parts.enter_async_context(opening)
        except BaseException:
            await self._parts.aclose()
            raise
        self._ticking = asyncio.create_task(self._tick_until_closed())
        self._send(events.Started(self.id, self._links, self.resume_token))

    async def hear(self, raw: bytes) -> None:
        """Takes sound as it was declared, with its channels interleaved. Raises AppError if the call cannot go on.

        Sound that comes while the call is being ended is left out.
        """
        if self._closed:
            return
        self._waiting += raw
        if len(self._waiting) >= MOST_WAITING_BYTES:
            self._taken.clear()
            self._came.set()
            await self._taken.wait()
        if self._trouble is not None:
            raise self._trouble

    async def hear_channel(self, channel: int, raw: bytes, at_seconds: float | None = None) -> None:
        """Takes a piece of one track. `at_seconds` is when it begins, counted from the start of the call.

        Raises AppError if the call cannot go on.
        """
        if self._tracks is None or not 0 <= channel < self.sound.channels:
            raise InvalidRequest(f"The call has no track {channel}.")
        if at_seconds is not None and at_seconds > time.monotonic() - self._began + FURTHEST_SECONDS:
            at_seconds = None  # it cannot be so late yet
        self._tracks.add(channel, raw, at_seconds)
        await self.hear(self._tracks.take())

    async def stop(self, reason: str = "stop") -> UUID | None:
        """Ends the call. Returns the id of its transcription, or None if no sound came. May be called again.

        A call with several connections ends with the last of them.
        """
        self.legs -= 1
        return self.id if self.legs > 0 else await self.stop_now(reason)

    async def stop_now(self, reason: str) -> UUID | None:
        """Ends the call, however many connections it has. A call that waits to be resumed goes on waiting."""
        if self._is_left:
            return self.id
        if self._stopping is None:
            self._stopping = asyncio.create_task(self._stop(reason))
        return await asyncio.shield(self._stopping)

    @property
    def is_open(self) -> bool:
        return not self._closed

    @property
    def may_be_resumed(self) -> bool:
        """Whether its client can go on with it on a new connection."""
        return self.resume_token is not None and self._stopping is None

    async def interrupt(self) -> None:
        """Writes all sound. After that, `hand_over` lets the client go on with the call at another process."""
        self._is_left = True
        await self._close()
        await self._give_last_texts(SHUTDOWN_SECONDS)
        for listener in self._listeners:
            listener.close()
        await self._parts.aclose()

    async def hand_over(self) -> None:
        """Gives the spool up, and informs the client. Nothing may be written of the call after that."""
        await self._threads.run(self.spool.interrupt, ANSWER_SECONDS)
        if self.resume_token is not None:
            self._send_to_client(events.Reconnect(self.resume_token))

    async def _stop(self, reason: str) -> UUID | None:
        await self._close()
        await self._give_last_texts(SHUTDOWN_SECONDS if reason == SHUTDOWN else FINALS_SECONDS)
        for listener in self._listeners:
            listener.close()
        await self._parts.aclose()
        stopped = await self._end(self, reason)
        self._send_to_client(stopped)
        return stopped.id

    async def _give_last_texts(self, limit_seconds: float) -> None:
        """Waits for the texts of what was said last. The recording does not depend on them."""
        try:
            await within(limit_seconds, asyncio.gather(*(each.finish() for each in self._listeners)))
        except TimeoutError:
            pass
        except Exception:
            log.exception("live text failed", call=str(self.id))

    async def _close(self) -> None:
        """Takes no more sound, and writes what came."""
        self._closed = True
        self._taken.set()
        self._came.set()
        if self._ticking is not None:
            await self._ticking
        if self._syncing is not None:
            await self._syncing

    async def _tick_until_closed(self) -> None:
        try:
            while not self._closed:
                with suppress(TimeoutError):
                    await within(TICK_SECONDS, self._came.wait())
                self._came.clear()
                await self._tick()
            if self._tracks is not None:
                self._waiting += self._tracks.take(all_of_it=True)
            await self._tick()
            if self._trouble is None and self._files is not None:
                await self._add_to_live_text(self._files.finish())
        except (AppError, OSError) as error:
            self._fail(error)
        except Exception:
            log.exception("a live call failed", call=str(self.id))
            self._fail(None)

    async def _tick(self) -> None:
        """Writes what came since the last tick."""
        raw, self._waiting = bytes(self._waiting), bytearray()
        self._taken.set()
        if not raw or self._trouble is not None:
            self._advance()  # a container is decoded a little later than it comes
            return
        room = max(0, min(self._most_bytes - HEADER_BYTES, self._bytes_of_longest) - self._bytes)
        raw, too_much = raw[:room], len(raw) > room
        now = time.monotonic()
        if now - self._space_at >= SPACE_SECONDS:
            self._space_at = now
            await self._free_space.require()
        await self._threads.run(partial(self.spool.write, raw), ANSWER_SECONDS)
        self._bytes += len(raw)
        if now - self._synced_at >= SYNC_SECONDS and (self._syncing is None or self._syncing.done()):
            self._synced_at = now
            self._syncing = asyncio.create_task(self._sync())  # the live text does not wait for the disk
        if self._files is not None:
            await self._add_to_live_text(self._files.add(raw))
        if too_much:
            if self._bytes_of_longest < self._most_bytes - HEADER_BYTES:
                raise TooLong(f"The call is longer than {self._most_seconds:g} s.")
            raise TooLarge(f"The recording is larger than {self._most_bytes} bytes.")

    @property
    def _bytes_of_longest(self) -> int:
        """The most bytes of sound that may come. A container does not say how long it is."""
        frame = self.sound.bytes_per_frame
        return int(self._most_seconds) * self.sound.sample_rate * frame if frame else self._most_bytes

    async def _sync(self) -> None:
        try:
            await self._threads.run(self.spool.sync, ANSWER_SECONDS)
        except OSError as error:
            self._fail(error)

    async def _add_to_live_text(self, adding: Awaitable[None]) -> None:
        """Trouble in here ends the live text and not the call, because the sound is in the spool."""
        try:
            await adding
            self._advance()
        except TooLong:  # only a container is found out to be so in here
            raise
        except (AppError, OSError, EngineStopped) as error:
            log.warning("live text ended", call=str(self.id), error=repr(error))
            code = error.code if isinstance(error, AppError) else Unavailable.code
            self._send(events.Warned(code, "There is no more live text. The call is still recorded.", None))
            self._files = None

    def _advance(self) -> None:
        if self._files is None:
            return
        for channel in range(len(self._listeners), len(self._files.files)):
            self._listeners.append(
                self._engine.listen(
                    self._files.files[channel],
                    channel,
                    self.options,
                    self._rank,
                    self._hear_event,
                    silence_ms=self._new.silence_ms,
                    partial_ms=self._new.partial_ms if self._wants_partials else None,
                )
            )
        for listener in self._listeners:
            listener.advance(self._files.samples)
        self.news.heard_seconds = self._files.samples / SAMPLE_RATE

    @property
    def _wants_partials(self) -> bool:
        return self._new.partials and not self.options.redacts

    def _fail(self, error: AppError | OSError | None) -> None:
        """The call cannot go on. The client gets the error at its next sound. What is in the spool becomes a job."""
        if isinstance(error, AppError):
            self._trouble = error
        elif isinstance(error, OSError) and is_disk_full(error):
            self._trouble = InsufficientStorage()
        else:
            self._trouble = Unavailable("The recording cannot be written at the moment.")
            log.error("a live call cannot be written", call=str(self.id), error=repr(error))
        self._taken.set()

    def _hear_event(self, event: heard.UtteranceEvent) -> None:
        """Called by the engine, on the event loop."""
        speaker = label_of(self.options, event.channel, self.channels)
        match event:
            case heard.SpeechStarted(channel=channel, start=start):
                self._send(events.SpeechStarted(channel, speaker, round(start, 2)))
            case heard.SpeechStopped(channel=channel, end=end):
                self._send(events.SpeechStopped(channel, speaker, round(end, 2)))
            case heard.Partial(channel=channel, utterance=utterance, start=start, text=text):
                number = self._first_utterance + utterance
                self._send(events.Partial(channel, speaker, number, text, round(start, 2)))
            case heard.Final():
                self._is_model_away = self._is_model_away and not event.words
                self._send(self._final(event, speaker))
            case heard.Behind(channel=channel, seconds=seconds):
                message = f"The live text is {seconds:.0f} s late. The recording is not affected."
                self._send(events.Warned("behind", message, channel))
            case heard.Away() if not self._is_model_away:
                self._is_model_away = True
                self._send(events.Warned("model_away", MODEL_AWAY))

    def _final(self, final: heard.Final, speaker: str) -> events.Transcript:
        redacts = self.options.redacts
        return events.Transcript(
            final.channel,
            speaker,
            self._first_utterance + final.utterance,
            redacted_text(final, self.options) if redacts else final.text,
            round(final.start, 2),
            round(final.end, 2),
            final.language or None,
            final.words if self.options.word_timestamps and not redacts else None,
        )

    def _send(self, event: LiveEvent) -> None:
        """Sends the event to the client, and notes it for those who follow the call."""
        fields = event.as_json()
        if isinstance(event, events.Partial):
            self.news.partials[str(event.channel)] = fields
        else:
            self._number += 1
            self.news.events.append((self._number, {name: fields[name] for name in fields if name != "resume"}))
        if isinstance(event, events.Transcript):
            self.news.partials.pop(str(event.channel), None)
        self.news.changed = True
        self._send_to_client(event)
