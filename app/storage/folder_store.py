"""Recordings in a folder, for one machine or for several that mount the folder.

The store's own threads do all work on the disk, and each wait for them has a limit. The reason is that a network mount
that cannot be reached, or a failing disk, may never answer. The store is then unavailable, and the process goes on.
"""

import asyncio
import os
import shutil
import stat
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import BinaryIO, TypeVar

from app import wording
from app.process.folders import sync_folder
from app.process.threads import BoundedThreads
from app.storage.disk import is_disk_full
from app.storage.store import BLOCK_BYTES, Measured, RecordingMissing, StoredAudio, StoreUnavailable

MARKER = ".callscribe-audio"
THREADS = 32
ANSWER_SECONDS = 60.0
SYNC_SECONDS = 300.0  # so that gigabytes can reach a slow disk
CHECK_SECONDS = 10.0

T = TypeVar("T")


class LocalAudioStore:
    """Keeps recordings under `folder`, on this machine's disk or on one that several machines mount.

    A marker file is in the folder. If it is missing, the disk is not mounted, so that the store is unavailable and no
    recording counts as lost. The store creates the marker only if the folder `may_be_new`. The constructor blocks, and
    raises StoreUnavailable if the folder cannot be used.

    Only this user can read recordings. If the folder's group may write to the folder, the group can read them too,
    because several machines or users then share it.
    """

    def __init__(self, folder: Path, *, may_be_new: bool = True) -> None:
        self.folder = folder
        self._marker = folder / MARKER
        self._incoming = folder / "incoming"
        self._threads = BoundedThreads("audio-store", THREADS)
        self._checking = BoundedThreads("audio-store-check", 1)
        if may_be_new or self.marked:
            try:
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                _make_folder(self._incoming)
                if not self._marker.exists():
                    self._marker.touch(0o600)
                    _share(self._marker, folder)
            except OSError as error:
                raise StoreUnavailable(f"the folder {folder} cannot be used: {wording.of_disk(error)}") from error

    @property
    def marked(self) -> bool:
        """Whether the folder has its marker. Without it the store saves and reads nothing."""
        return _exists(self._marker)

    def _path(self, key: str) -> Path:
        return self.folder / key[-2:] / key

    async def save(self, key: str, stream: AsyncIterator[bytes], max_bytes: int) -> StoredAudio:
        incoming = self._incoming / key
        recording = Measured(stream, max_bytes)
        opened: list[BinaryIO] = []
        await self._require_answer()
        try:
            await self._on_disk(lambda: opened.append(_create(incoming, self.folder)))
            async for block in recording:
                await self._on_disk(partial(opened[0].write, block))
            await self._on_disk(partial(_sync, opened[0]), SYNC_SECONDS)
            await self._on_disk(partial(_publish, incoming, self._path(key)), SYNC_SECONDS)
        except BaseException:
            with suppress(OSError):
                await asyncio.shield(self._on_disk(partial(_discard, opened, incoming), CHECK_SECONDS))
            raise
        return recording.stored_as(key)

    @asynccontextmanager
    async def local_path(self, key: str) -> AsyncIterator[Path]:
        path = self._path(key)
        await self._require(path)
        try:
            yield path
        except Exception:
            await self._require(path)  # a disk that is no longer mounted is not the fault of the recording
            raise

    async def read(self, key: str, span: range) -> AsyncIterator[bytes]:
        path = self._path(key)
        await self._require(path)
        return self._blocks(path, span)

    async def _blocks(self, path: Path, span: range) -> AsyncIterator[bytes]:
        left = len(span)
        file = await self._on_disk(partial(_open_at, path, span.start))
        try:
            while left > 0 and (block := await self._on_disk(partial(file.read, min(BLOCK_BYTES, left)))):
                left -= len(block)
                yield block
        finally:
            await asyncio.shield(self._on_disk(file.close))

    async def _require(self, path: Path) -> None:
        """Raises RecordingMissing if there is no such file, and StoreUnavailable if it cannot be read."""
        try:
            await self._on_disk(partial(_read_a_byte, path))
        except FileNotFoundError:
            raise RecordingMissing(path.name) from None

    async def copy(self, key: str, copy_key: str) -> None:
        """A second name of the same file takes no space and no time. Some disks know no second names."""
        incoming = self._incoming / copy_key
        await self._require(self._path(key))
        await self._require_answer()
        try:
            await self._on_disk(partial(_link_or_copy, self._path(key), incoming), SYNC_SECONDS)
            await self._on_disk(partial(_publish, incoming, self._path(copy_key)), SYNC_SECONDS)
        except FileNotFoundError:  # it was erased in this moment
            raise RecordingMissing(key) from None
        except BaseException:
            with suppress(OSError):
                await asyncio.shield(self._on_disk(partial(incoming.unlink, missing_ok=True), CHECK_SECONDS))
            raise

    async def delete(self, key: str) -> None:
        for path in (self._incoming / key, self._path(key)):
            with suppress(FileNotFoundError):
                await self._on_disk(path.unlink)

    async def untouched(self, seconds: float) -> list[str]:
        return await self._on_disk(lambda: _names_before(self.folder, self._try_out() - seconds))

    async def check(self) -> None:
        try:
            await self._require_answer()
        except StoreUnavailable:
            raise
        except OSError as error:
            raise StoreUnavailable(f"the folder {self.folder} cannot be written: {error.strerror}") from error

    async def _require_answer(self) -> None:
        try:
            await self._checking.run(partial(self._in_own_words, self._try_out), CHECK_SECONDS)
        except TimeoutError:
            raise self._no_answer from None

    def _try_out(self) -> float:
        """Write to the disk, because a disk that can be read may still hang, or have no inodes, for writers.

        Returns the time in seconds since 1970 by the clock that dates files, which is the server's on a network mount.
        """
        self._marker.stat()
        with tempfile.TemporaryFile(dir=self._incoming, buffering=0) as file:
            file.write(b"a")
            return os.fstat(file.fileno()).st_mtime

    async def _on_disk(self, work: Callable[[], T], limit_seconds: float = ANSWER_SECONDS) -> T:
        """Run `work` in a thread and return its result.

        A missing file and a full disk raise what `work` raises. Other trouble with the disk raises StoreUnavailable,
        and so does `work` that takes longer than the limit. This raises immediately while a check of the disk has no
        answer.
        """
        if self._checking.all_hang:
            raise self._no_answer
        try:
            return await self._threads.run(partial(self._in_own_words, work), limit_seconds)
        except TimeoutError:
            raise self._no_answer from None

    @property
    def _no_answer(self) -> StoreUnavailable:
        return StoreUnavailable(f"the folder {self.folder} cannot be used: no answer from its disk")

    def _in_own_words(self, work: Callable[[], T]) -> T:
        """Raises StoreUnavailable instead of an OSError, except for a missing file and a full disk."""
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


def _open_at(path: Path, offset: int) -> BinaryIO:
    file = path.open("rb")
    file.seek(offset)
    return file


def _discard(opened: list[BinaryIO], incoming: Path) -> None:
    """Erase an incomplete upload. Nothing is erased if this upload opened no file, because another one has the name."""
    for file in opened:
        with suppress(OSError):
            file.close()
        incoming.unlink(missing_ok=True)


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())
    file.close()


def _names_before(folder: Path, moment: float) -> list[str]:
    """Returns the names of recordings, complete or not, that were last written before `moment`.

    Files at other places in the folder do not belong to the store. Files that may not be read are skipped.
    """
    names = []
    for path in (*folder.glob("incoming/*"), *folder.glob("??/*")):
        with suppress(FileNotFoundError, PermissionError):
            if path.is_file() and path.stat().st_mtime < moment:
                names.append(path.name)
    return names


def _create(path: Path, store: Path) -> BinaryIO:
    file = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
    _share(path, store)
    return file


def _link_or_copy(path: Path, incoming: Path) -> None:
    try:
        incoming.hardlink_to(path)
    except FileNotFoundError:
        raise
    except OSError:  # such as EPERM, EXDEV or EMLINK
        with path.open("rb") as recording, _create(incoming, incoming.parent.parent) as file:
            shutil.copyfileobj(recording, file)
            _sync(file)


def _make_folder(path: Path) -> None:
    with suppress(FileExistsError):
        path.mkdir(mode=0o700)
        _share(path, path.parent)


def _share(new: Path, store: Path) -> None:
    """Give the group the rights of this user on a new file or folder, if the group may write to the store's folder."""
    if store.stat().st_mode & stat.S_IWGRP:
        mode = new.stat().st_mode
        new.chmod(mode | (mode & stat.S_IRWXU) >> 3)


def _publish(incoming: Path, path: Path) -> None:
    """Move a complete file to its place. It survives a crash, because both folders are synced after the renaming.

    If a folder cannot be synced, the file is erased, because it might not survive.
    """
    _make_folder(path.parent)
    incoming.rename(path)
    try:
        for folder in (path.parent, path.parent.parent):
            sync_folder(folder)
    except OSError:
        with suppress(OSError):
            path.unlink()
        raise
