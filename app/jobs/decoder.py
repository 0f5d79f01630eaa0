"""A recording of the store → PCM files, for as long as a job works on them."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from app.audio.decode import DecodedAudio, decode
from app.audio.store import AudioStore
from app.audio.workspace import Workspace

AT_ONCE = 2


@dataclass(frozen=True)
class Decoded:
    """What a recording holds, and the seconds that it took to find out."""

    audio: DecodedAudio
    seconds: float


class Decoder:
    """Decodes recordings of `store` into `workspace`, two at once."""

    def __init__(self, store: AudioStore, workspace: Workspace, *, max_audio_seconds: float) -> None:
        self._store = store
        self._workspace = workspace
        self._max_audio_seconds = max_audio_seconds
        self._places = asyncio.Semaphore(AT_ONCE)

    @asynccontextmanager
    async def decoded(self, key: str, *, split: bool) -> AsyncIterator[Decoded]:
        """The recording's channels, or their mix, on disk until the end of the block.

        Raises what `decode` and the store raise.
        """
        with self._workspace.folder() as folder:
            async with self._places, self._store.local_path(key) as path:
                started = time.monotonic()
                audio = await decode(path, Path(folder), split=split, max_seconds=self._max_audio_seconds)
                seconds = time.monotonic() - started
            yield Decoded(audio, seconds)
