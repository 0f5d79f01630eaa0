"""A recording of the store → PCM files, for as long as a job works on them."""

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.audio.decode import DecodedAudio, decode
from app.audio.disk import FreeSpace
from app.audio.store import AudioStore
from app.audio.workspace import Workspace

AT_ONCE = 2
LOOK_SECONDS = 1.0


@dataclass(frozen=True)
class Decoded:
    """What a recording holds, and the seconds that it took to find out."""

    audio: DecodedAudio
    seconds: float


class Decoder:
    """Decodes recordings of `store` into `workspace`, two at once, while there is `free_space`."""

    def __init__(
        self, store: AudioStore, workspace: Workspace, free_space: FreeSpace, *, max_audio_seconds: float
    ) -> None:
        self._store = store
        self._workspace = workspace
        self._free_space = free_space
        self._max_audio_seconds = max_audio_seconds
        self._places = asyncio.Semaphore(AT_ONCE)

    @asynccontextmanager
    async def decoded(self, key: str, *, split: bool) -> AsyncIterator[Decoded]:
        """The recording's channels, or their mix, on disk until the end of the block.

        Raises what `decode` and the store raise, and InsufficientStorage.
        """
        with self._workspace.folder() as folder:
            async with self._places:
                await self._free_space.require()
                async with self._store.local_path(key) as path:
                    started = time.monotonic()
                    audio = await self._while_there_is_room(
                        decode(path, Path(folder), split=split, max_seconds=self._max_audio_seconds)
                    )
                    seconds = time.monotonic() - started
            yield Decoded(audio, seconds)

    async def _while_there_is_room(self, decoding: Coroutine[Any, Any, DecodedAudio]) -> DecodedAudio:
        """A few kilobytes may hold hours of silence: what comes out is seen on the disk, and nowhere before."""
        task = asyncio.create_task(decoding)
        try:
            while not (await asyncio.wait({task}, timeout=LOOK_SECONDS))[0]:
                await self._free_space.require()
            return task.result()
        finally:
            task.cancel()
            await asyncio.wait({task})
