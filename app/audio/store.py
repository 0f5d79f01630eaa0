"""Where recordings are kept until their job ends: a folder now, with the same interface for other stores."""

import asyncio
import hashlib
import os
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from app.errors import TooLarge

WRITE_BYTES = 128 * 1024


@dataclass(frozen=True)
class StoredAudio:
    """What is known of a recording once its last byte is durable."""

    key: str
    bytes: int
    sha256: str


class AudioStore(Protocol):
    async def save(self, key: str, stream: AsyncIterator[bytes], max_bytes: int) -> StoredAudio:
        """Keep a stream under `key`, durably, holding little of it in memory. Raises TooLarge; leaves nothing then."""

    def local_path(self, key: str) -> AbstractAsyncContextManager[Path]:
        """The recording as a file on this machine, for the length of the block. Raises FileNotFoundError."""

    async def delete(self, key: str) -> None:
        """Erase the recording. One that is gone already is fine."""

    async def untouched(self, seconds: float) -> list[str]:
        """The keys, complete or not, that nothing was written to for so long."""

    async def check(self) -> None:
        """Raises OSError where recordings cannot be kept."""


class LocalAudioStore:
    """A folder: for one machine, or several that mount it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._incoming = folder / "incoming"
        self._incoming.mkdir(parents=True, exist_ok=True)

    def _path(self, key: str) -> Path:
        return self.folder / key[-2:] / key

    async def save(self, key: str, stream: AsyncIterator[bytes], max_bytes: int) -> StoredAudio:
        incoming = self._incoming / key
        digest, size = hashlib.sha256(), 0
        try:
            with incoming.open("xb") as file:
                async for chunk in _blocks(stream):
                    size += len(chunk)
                    if size > max_bytes:
                        raise TooLarge(f"The recording is larger than {max_bytes} bytes.")
                    await asyncio.to_thread(_write, file, digest, chunk)
                await asyncio.to_thread(os.fsync, file.fileno())
            await asyncio.to_thread(_publish, incoming, self._path(key))
        except BaseException:
            incoming.unlink(missing_ok=True)
            raise
        return StoredAudio(key=key, bytes=size, sha256=digest.hexdigest())

    @asynccontextmanager
    async def local_path(self, key: str) -> AsyncIterator[Path]:
        path = self._path(key)
        if not path.is_file():
            raise FileNotFoundError(key)
        yield path

    async def delete(self, key: str) -> None:
        for path in (self._incoming / key, self._path(key)):
            await asyncio.to_thread(path.unlink, missing_ok=True)

    async def untouched(self, seconds: float) -> list[str]:
        return await asyncio.to_thread(_names_before, self.folder, time.time() - seconds)

    async def check(self) -> None:
        if not os.access(self._incoming, os.W_OK):
            raise PermissionError(f"{self._incoming} cannot be written")


async def _blocks(stream: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same bytes in pieces worth a write."""
    block = bytearray()
    async for chunk in stream:
        block += chunk
        if len(block) >= WRITE_BYTES:
            yield bytes(block)
            block = bytearray()
    if block:
        yield bytes(block)


def _write(file: BinaryIO, digest: "hashlib._Hash", chunk: bytes) -> None:
    file.write(chunk)
    digest.update(chunk)


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
