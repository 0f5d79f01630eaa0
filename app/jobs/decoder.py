"""A recording of the store → PCM files, for as long as a job works on them."""

import asyncio
import errno
import time
import wave
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.audio.decode import DecodedAudio, decode
from app.errors import InsufficientStorage
from app.speech.batching.fair_places import FairPlaces
from app.speech.batching.fairness import Share
from app.storage.disk import FreeSpace
from app.storage.store import AudioStore
from app.storage.workspace import Workspace

PLACES = 3
PLACES_OF_ONE_KEY = 2  # the third is for another key: its call does not wait for hours of audio to be decoded
LOOK_SECONDS = 1.0
TRIAL_SECONDS = 20.0


@dataclass(frozen=True)
class Decoded:
    """What a recording holds, and the seconds that it took to find out."""

    audio: DecodedAudio
    seconds: float


class Decoder:
    """Decodes recordings of `store` into `workspace`, few at the same time, while there is `free_space`."""

    def __init__(
        self, store: AudioStore, workspace: Workspace, free_space: FreeSpace, *, max_audio_seconds: float
    ) -> None:
        self._store = store
        self._workspace = workspace
        self._free_space = free_space
        self._max_audio_seconds = max_audio_seconds
        self._places = FairPlaces(PLACES, PLACES_OF_ONE_KEY)

    @asynccontextmanager
    async def decoded(self, key: str, share: Share, *, split: bool) -> AsyncIterator[Decoded]:
        """The recording's channels, or their mix, on disk until the end of the block.

        Raises what `decode` and the store raise. Too little room on the disk is an OSError, as a full disk is.
        """
        async with self._workspace.folder() as folder:
            async with self._places.place(share):
                await self._require_room()
                async with self._store.local_path(key) as path:
                    started = time.monotonic()
                    audio = await self._while_there_is_room(
                        decode(path, folder, split=split, max_seconds=self._max_audio_seconds)
                    )
                    seconds = time.monotonic() - started
            yield Decoded(audio, seconds)

    async def try_out(self) -> None:
        """Decode a recording that is known to be good. What it raises is the worker's own trouble."""
        await self._require_room()
        await self._workspace.check()
        async with self._workspace.folder() as folder:
            recording = folder / "trial.wav"
            await asyncio.to_thread(_write_silence, recording)
            await decode(recording, folder, split=False, max_seconds=60.0, timeout_seconds=TRIAL_SECONDS)

    async def _require_room(self) -> None:
        try:
            await self._free_space.require()
        except InsufficientStorage:
            raise OSError(errno.ENOSPC, "too little room for decoded audio") from None

    async def _while_there_is_room(self, decoding: Coroutine[Any, Any, DecodedAudio]) -> DecodedAudio:
        """A few kilobytes may hold hours of silence: what comes out is seen on the disk, and nowhere before."""
        task = asyncio.create_task(decoding)
        try:
            while not (await asyncio.wait({task}, timeout=LOOK_SECONDS))[0]:
                await self._require_room()
            return task.result()
        finally:
            task.cancel()
            await asyncio.wait({task})


def _write_silence(path: Path) -> None:
    with wave.open(str(path), "wb") as recording:
        recording.setparams((1, 2, 8000, 0, "NONE", ""))
        recording.writeframes(bytes(16_000))
