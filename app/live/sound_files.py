"""The sound of a live call as files of samples, one for each channel, which grow as the sound comes.

The engine reads from them. They are temporary: the recording is in the spool.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from io import FileIO
from pathlib import Path
from typing import Protocol

from app.audio.container_stream import ContainerStream, open_container_stream
from app.audio.live_pcm import SoundToPcm
from app.audio.live_sound import Sound
from app.audio.pcm import BYTES_PER_SAMPLE, SAMPLE_RATE, PcmFile
from app.live.spool import ANSWER_SECONDS
from app.process.folders import write_whole
from app.process.threads import BoundedThreads


class SoundFiles(Protocol):
    @property
    def files(self) -> Sequence[PcmFile]:
        """A file for each channel. Empty until the header of a container is read."""

    @property
    def samples(self) -> int:
        """How many samples each file has."""

    async def add(self, raw: bytes) -> None:
        """Raises OSError, and AppError if a container cannot be read."""

    async def finish(self) -> None:
        """No more sound comes. Writes what is left."""


@asynccontextmanager
async def open_sound_files(
    sound: Sound, folder: Path, threads: BoundedThreads, *, most_seconds: float, skipped_seconds: float
) -> AsyncIterator[SoundFiles]:
    """Files in `folder`, which begin with `skipped_seconds` of silence unless the sound is a container.

    Raises OSError.
    """
    if sound.encoding == "container":
        async with open_container_stream(folder, max_seconds=most_seconds, most_channels=sound.channels) as stream:
            yield _Container(stream)
        return
    raw = await threads.run(lambda: _Raw(sound, folder, threads, skipped_seconds), ANSWER_SECONDS)
    try:
        yield raw
    finally:
        raw.close()


class _Container:
    def __init__(self, stream: ContainerStream) -> None:
        self._stream = stream

    @property
    def files(self) -> Sequence[PcmFile]:
        return self._stream.files

    @property
    def samples(self) -> int:
        return self._stream.samples

    async def add(self, raw: bytes) -> None:
        await self._stream.write(raw)

    async def finish(self) -> None:
        await self._stream.finish()


class _Raw:
    def __init__(self, sound: Sound, folder: Path, threads: BoundedThreads, skipped_seconds: float) -> None:
        self._threads = threads
        self._convert = SoundToPcm(sound)
        paths = [folder / f"live-{channel}.pcm" for channel in range(sound.channels)]
        self.files: Sequence[PcmFile] = [PcmFile(path) for path in paths]
        self.samples = round(skipped_seconds * SAMPLE_RATE)
        self._open = [FileIO(path, "ab") for path in paths]
        for file in self._open:
            file.truncate(self.samples * BYTES_PER_SAMPLE)  # a hole, which takes no space

    async def add(self, raw: bytes) -> None:
        await self._threads.run(lambda: self._write(raw), ANSWER_SECONDS)

    async def finish(self) -> None:
        await self._threads.run(lambda: self._write(None), ANSWER_SECONDS)

    def close(self) -> None:
        for file in self._open:
            file.close()

    def _write(self, raw: bytes | None) -> None:
        lines = self._convert.finish() if raw is None else self._convert.convert(raw)
        for file, line in zip(self._open, lines, strict=True):
            write_whole(file, line.astype("<i2").tobytes())
        self.samples += min((len(line) for line in lines), default=0)
