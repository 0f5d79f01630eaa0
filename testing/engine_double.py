"""Doubles of the engine and of FFmpeg, which do what a job's prompt orders.

sleep SECONDS   sleep, one job at a time in a process; then return a transcript
hang            wait until the job is cancelled
fail            raise an error that ends the job
device          raise DeviceLost; the engine is not ready any more
crash           kill the process
away SECONDS    in a live call, be a model that cannot be used for so many seconds of sound
"""

import asyncio
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from app.audio.decode import DecodedAudio, MediaInfo
from app.audio.pcm import SAMPLE_RATE, PcmFile
from app.audio.raw import RawSound
from app.errors import TranscriptionFailed
from app.process.places import Rank
from app.process.shares import Shares
from app.speech.batching.batcher import EngineStopped
from app.speech.engine import USUAL_RANK, EngineConfig
from app.speech.live.events import Away, Final, OnEvent, Partial, SpeechStarted, SpeechStopped
from app.speech.model import DeviceLost
from app.speech.reports import OnFinal
from app.transcripts.transcript import Channel, Options, Transcript, Word

INFO = MediaInfo("wav", "pcm_s16le", 8000, 1, 0.2)
SILENCE = Transcript(None, None, 0.2, (Channel(0, "speaker", None, None, 0.0),), ())


async def probe(path: Path, raw: RawSound | None = None) -> MediaInfo:
    return INFO


async def decode(
    path: Path,
    folder: Path,
    raw: RawSound | None = None,
    *,
    split: bool,
    max_seconds: float,
    timeout_seconds: float | None = None,
) -> DecodedAudio:
    channel = folder / "channel-0.pcm"
    channel.write_bytes(bytes(6400))
    return DecodedAudio(INFO, 0.2, (PcmFile(channel),))


class EngineDouble:
    """Replaces `app.speech.engine.Engine`."""

    def __init__(self, config: EngineConfig, shares: Shares) -> None:
        self.ready = False
        self._sleeping = asyncio.Semaphore()

    @property
    def troubles(self) -> Mapping[str, str]:
        return {}

    def load(self) -> None:
        self.ready = True

    async def transcribe(
        self,
        channels: Sequence[PcmFile],
        options: Options,
        on_progress: Callable[[float], None],
        rank: Rank = USUAL_RANK,
        on_final: OnFinal | None = None,
    ) -> Transcript:
        if not self.ready:
            raise EngineStopped
        order, _, seconds = (options.prompt or "").partition(" ")
        on_progress(0.5)
        match order:
            case "sleep":
                async with self._sleeping:
                    await asyncio.sleep(float(seconds))
            case "hang":
                await asyncio.Event().wait()
            case "fail":
                raise TranscriptionFailed
            case "device":
                self.ready = False
                raise DeviceLost
            case "crash":
                os.kill(os.getpid(), signal.SIGKILL)
        return SILENCE

    @property
    def most_live_calls(self) -> int:
        return 4

    def listen(
        self,
        pcm: PcmFile,
        channel: int,
        options: Options,
        rank: Rank,
        on_event: OnEvent,
        *,
        silence_ms: int = 500,
        partial_ms: int | None = 1000,
    ) -> "ListenerDouble":
        order, _, seconds = (options.prompt or "").partition(" ")
        return ListenerDouble(channel, on_event, partial_ms is not None, int(seconds) if order == "away" else 0)

    def close(self) -> None:
        self.ready = False


class ListenerDouble:
    """Hears an utterance in each second of sound. Its text says which one, such as `second 3 of channel 0`."""

    def __init__(self, channel: int, on_event: OnEvent, gives_partials: bool, away: int) -> None:
        self._channel = channel
        self._on_event = on_event
        self._gives_partials = gives_partials
        self._utterances = 0
        self._away = away
        self._closed = False

    def advance(self, samples: int) -> None:
        while not self._closed and samples >= (self._utterances + 1) * SAMPLE_RATE:
            second, channel = self._utterances, self._channel
            self._utterances += 1
            text = f"second {second} of channel {channel}"
            words = tuple(Word(second, second + 1, f" {word}") for word in text.split())
            self._on_event(SpeechStarted(channel, second))
            if second < self._away:
                self._on_event(SpeechStopped(channel, second + 1))
                self._on_event(Away(channel))
                continue
            if self._gives_partials:
                self._on_event(Partial(channel, second, second, "second"))
            self._on_event(SpeechStopped(channel, second + 1))
            self._on_event(Final(channel, second, second, second + 1, text, "en", words))

    async def finish(self) -> None:
        pass

    def close(self) -> None:
        self._closed = True
