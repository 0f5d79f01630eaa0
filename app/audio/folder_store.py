"""Recordings in a folder: for one machine, or several that mount it."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from app.audio.store import BLOCK_BYTES, Measured, StoredAudio


class LocalAudioStore:
    """Keeps recordings under `folder`, on this machine's disk or on one that several machines mount."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._incoming = folder / "incoming"
        self._incoming.mkdir(parents=True, exist_ok=True)

    def _path(self, key: str) -> Path:
        return self.folder / key[-2:] / key

    async def save(self, key: str, stream: AsyncIterator[bytes], max_bytes: int) -> StoredAudio:
        incoming = self._incoming / key
        recording = Measured(stream, max_bytes)
        try:
            with incoming.open("xb") as file:
                async for block in recording:
                    await asyncio.to_thread(file.write, block)
                await asyncio.to_thread(_sync, file)
            await asyncio.to_thread(_publish, incoming, self._path(key))
        except BaseException:
            incoming.unlink(missing_ok=True)
            raise
        return recording.stored_as(key)

    @asynccontextmanager
    async def local_path(self, key: str) -> AsyncIterator[Path]:
        path = self._path(key)
        if not path.is_file():
            raise FileNotFoundError(key)
        yield path

    async def read(self, key: str, span: range) -> AsyncIterator[bytes]:
        path = self._path(key)
        if not path.is_file():
            raise FileNotFoundError(key)
        return _blocks(path, span)

    async def delete(self, key: str) -> None:
        for path in (self._incoming / key, self._path(key)):
            await asyncio.to_thread(path.unlink, missing_ok=True)

    async def untouched(self, seconds: float) -> list[str]:
        return await asyncio.to_thread(_names_before, self.folder, time.time() - seconds)

    async def check(self) -> None:
        if not os.access(self._incoming, os.W_OK):
            raise PermissionError(f"{self._incoming} cannot be written")


async def _blocks(path: Path, span: range) -> AsyncIterator[bytes]:
    left = len(span)
    with await asyncio.to_thread(path.open, "rb") as file:
        await asyncio.to_thread(file.seek, span.start)
        while left > 0 and (block := await asyncio.to_thread(file.read, min(BLOCK_BYTES, left))):
            left -= len(block)
            yield block


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _names_before(folder: Path, moment: float) -> list[str]:
    """Names of the recordings, complete or not; whatever else lies in the folder is somebody else's."""
    names = []
    for path in (*folder.glob("incoming/*"), *folder.glob("??/*")):
        with suppress(FileNotFoundError):
            if path.is_file() and path.stat().st_mtime < moment:
                names.append(path.name)
    return names


def _publish(incoming: Path, path: Path) -> None:
    """Move a complete file to its place so that it survives a crash: rename, then sync both folders."""
    path.parent.mkdir(exist_ok=True)
    incoming.rename(path)
    for folder in (path.parent, path.parent.parent):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
