"""Recordings in a folder: for one machine, or several that mount it."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import BinaryIO, TypeVar

from app.audio.disk import is_disk_full
from app.audio.store import BLOCK_BYTES, Measured, RecordingMissing, StoredAudio, StoreUnavailable

MARKER = ".callscribe-audio"

T = TypeVar("T")


class LocalAudioStore:
    """Keeps recordings under `folder`, on this machine's disk or on one that several machines mount.

    A file of its own marks the folder: where that is missing the disk is not mounted, and no recording is lost.
    Only a folder that `may_be_new` is given its mark here. Raises StoreUnavailable where that cannot be done.
    """

    def __init__(self, folder: Path, *, may_be_new: bool = True) -> None:
        self.folder = folder
        self._marker = folder / MARKER
        self._incoming = folder / "incoming"
        if may_be_new or self.marked:
            try:
                self._incoming.mkdir(parents=True, exist_ok=True)
                if not self._marker.exists():
                    self._marker.touch()
            except OSError as error:
                raise StoreUnavailable(f"the folder {folder} cannot be used: {error.strerror}") from error

    @property
    def marked(self) -> bool:
        """Whether the folder has its mark. Without it nothing can be kept or read."""
        return _exists(self._marker)

    def _path(self, key: str) -> Path:
        return self.folder / key[-2:] / key

    async def save(self, key: str, stream: AsyncIterator[bytes], max_bytes: int) -> StoredAudio:
        incoming = self._incoming / key
        recording = Measured(stream, max_bytes)
        file = self._in_own_words(lambda: incoming.open("xb"))
        try:
            async for block in recording:
                await self._on_disk(partial(file.write, block))
            await self._on_disk(partial(_sync, file))
            await self._on_disk(partial(_publish, incoming, self._path(key)))
        except BaseException:
            for clean_up in (file.close, incoming.unlink):
                with suppress(OSError):
                    clean_up()
            raise
        return recording.stored_as(key)

    @asynccontextmanager
    async def local_path(self, key: str) -> AsyncIterator[Path]:
        path = self._path(key)
        await self._require(path)
        try:
            yield path
        except Exception:
            await self._require(path)  # a disk that went away is no fault of the recording
            raise

    async def read(self, key: str, span: range) -> AsyncIterator[bytes]:
        path = self._path(key)
        await self._require(path)
        return _blocks(path, span)

    async def _require(self, path: Path) -> None:
        """Raises RecordingMissing."""
        try:
            await self._on_disk(partial(_read_a_byte, path))
        except FileNotFoundError:
            raise RecordingMissing(path.name) from None

    async def delete(self, key: str) -> None:
        for path in (self._incoming / key, self._path(key)):
            with suppress(FileNotFoundError):
                await self._on_disk(path.unlink)

    async def untouched(self, seconds: float) -> list[str]:
        return await self._on_disk(partial(_names_before, self.folder, time.time() - seconds))

    async def check(self) -> None:
        await self._on_disk(self._marker.stat)
        if not os.access(self._incoming, os.W_OK):
            raise StoreUnavailable(f"{self._incoming} cannot be written")

    async def _on_disk(self, work: Callable[[], T]) -> T:
        """Work in a thread. Raises StoreUnavailable for trouble that is not the recording's and not a full disk."""
        return await asyncio.to_thread(self._in_own_words, work)

    def _in_own_words(self, work: Callable[[], T]) -> T:
        try:
            return work()
        except OSError as error:
            marked = self.marked
            if is_disk_full(error) or (isinstance(error, FileNotFoundError) and marked):
                raise
            reason = error.strerror if marked else f"it has no {MARKER}: is its disk mounted?"
            raise StoreUnavailable(f"the folder {self.folder} cannot be used: {reason}") from error


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return False


def _read_a_byte(path: Path) -> None:
    with path.open("rb") as file:
        file.read(1)


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
    file.close()


def _names_before(folder: Path, moment: float) -> list[str]:
    """Names of the recordings, complete or not; whatever else lies in the folder is somebody else's.

    What may not be looked at is passed over.
    """
    names = []
    for path in (*folder.glob("incoming/*"), *folder.glob("??/*")):
        with suppress(FileNotFoundError, PermissionError):
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
