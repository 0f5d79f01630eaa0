"""Doubles of the engine and of FFmpeg, which do what a job's prompt orders.

sleep SECONDS   sleep, one job at a time in a process; then return a transcript
hang            wait until the job is cancelled
fail            raise an error that ends the job
device          raise DeviceLost; the engine is not ready any more
crash           kill the process
"""

import asyncio
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

from app.audio.decode import DecodedAudio, MediaInfo
from app.audio.pcm import PcmFile
from app.audio.raw import RawSound
from app.errors import TranscriptionFailed
from app.process.places import Rank
from app.process.shares import Shares
from app.speech.batching.batcher import EngineStopped
from app.speech.engine import USUAL_RANK, EngineConfig
from app.speech.model import DeviceLost
from app.speech.reports import OnFinal
from app.transcripts.transcript import Channel, Options, Transcript

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

    def close(self) -> None:
        self.ready = False
