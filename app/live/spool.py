"""The file that the sound of a live call is written to as it comes. It is the recording, and survives the process.

A spool is a folder of its own with the sound, what the call becomes when it ends, and a lock. The process of the call
holds the lock, which the kernel releases even after kill -9. Then another process on this machine makes the job
(`calls.py`).
"""

import os
import shutil
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import IO
from uuid import UUID

from pydantic import TypeAdapter

from app.audio.live_sound import Sound
from app.audio.wav_spool import complete_header, header
from app.jobs.models import NewJob
from app.process.folders import sync_folder, try_lock, write_whole
from app.process.threads import BoundedThreads
from app.storage.store import BLOCK_BYTES

SOUND, CALL, INTERRUPTED = "sound", "call.json", "interrupted"
NEW, NEW_SECONDS = ".new-", 600
THREADS = 8
ANSWER_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Promise:
    """What a spool becomes: the job, and how the sound in it is written.

    `resume_hash` is the SHA-256 of the secret with which the client may go on after an interruption.
    """

    job: NewJob
    sound: Sound
    resume_hash: str


_PROMISES = TypeAdapter(Promise)


class Spool:
    """One call's spool, which this process holds. All methods block, except `blocks`."""

    def __init__(self, folder: Path, promise: Promise, lock: IO[str], file: FileIO) -> None:
        self.folder = folder
        self.promise = promise
        self._lock = lock
        self._file = file

    @property
    def id(self) -> UUID:
        return self.promise.job.id

    @property
    def sound_bytes(self) -> int:
        """The bytes of sound, without the header and without a frame that a crash has cut off."""
        sound = self.promise.sound
        written = max(0, self._path.stat().st_size - len(_header(sound)))
        return written - written % sound.bytes_per_frame if sound.bytes_per_frame else written

    @property
    def seconds(self) -> float:
        """How long the sound is; 0 for a container, which does not say."""
        sound = self.promise.sound
        return self.sound_bytes / sound.bytes_per_frame / sound.sample_rate if sound.bytes_per_frame else 0.0

    @property
    def interrupted_at(self) -> float | None:
        """When a process left the call to be resumed, in seconds since 1970. None if it did not."""
        try:
            return float((self.folder / INTERRUPTED).read_text())
        except (FileNotFoundError, ValueError):
            return None

    def write(self, raw: bytes) -> None:
        write_whole(self._file, raw)

    def sync(self) -> None:
        os.fsync(self._file.fileno())

    def seal(self) -> None:
        """Writes the real length into the header, and drops a frame that a crash has cut off. Safe to repeat."""
        self.sync()
        sound, size = self.promise.sound, self.sound_bytes
        if sound.encoding != "container":
            with self._path.open("r+b") as file:
                file.truncate(len(_header(sound)) + size)
                file.write(complete_header(sound, size))
                file.flush()
                os.fsync(file.fileno())

    def interrupt(self) -> None:
        """Leaves the call to be resumed by any process on this machine, and gives up the lock."""
        self.sync()
        (self.folder / INTERRUPTED).write_text(str(time.time()))
        sync_folder(self.folder)
        self.close()

    def resume(self) -> None:
        """The call goes on: it is no longer interrupted. A frame that was cut off is dropped."""
        with self._path.open("r+b") as file:
            file.truncate(len(_header(self.promise.sound)) + self.sound_bytes)
        (self.folder / INTERRUPTED).unlink(missing_ok=True)

    def erase(self) -> None:
        """Raises OSError if the sound cannot be erased."""
        self._path.unlink(missing_ok=True)  # a spool without sound is erased by whoever finds it
        shutil.rmtree(self.folder, ignore_errors=True)
        self.close()

    def close(self) -> None:
        self._file.close()
        self._lock.close()

    async def blocks(self, threads: BoundedThreads) -> AsyncIterator[bytes]:
        """The whole file, block by block."""
        with self._path.open("rb") as file:
            while block := await threads.run(lambda: file.read(BLOCK_BYTES), ANSWER_SECONDS):
                yield block

    @property
    def _path(self) -> Path:
        return self.folder / SOUND


class Spools:
    """All spools of this machine, below `root`. All methods block."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def create(self, promise: Promise) -> Spool:
        """Raises OSError.

        The folder gets its name when it is complete and locked, so that nobody takes it over before.
        """
        new, folder = self._root / f"{NEW}{promise.job.id}", self._root / str(promise.job.id)
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        new.mkdir(mode=0o700)
        try:
            lock = try_lock(new)
            assert lock is not None
            (new / CALL).write_bytes(_PROMISES.dump_json(promise))
            spool = Spool(folder, promise, lock, FileIO(new / SOUND, "xb"))
            spool.write(_header(promise.sound))
            spool.sync()
            sync_folder(new)
            new.rename(folder)
            sync_folder(self._root)
        except BaseException:
            shutil.rmtree(new, ignore_errors=True)
            raise
        return spool

    def ids(self) -> Sequence[UUID]:
        """The calls of all spools, whoever holds them."""
        if not self._root.exists():
            return ()
        folders = list(self._root.iterdir())
        for folder in folders:
            if folder.name.startswith(NEW) and time.time() - folder.stat().st_mtime > NEW_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)  # its process died before the call had begun
        return [UUID(folder.name) for folder in folders if _is_id(folder.name)]

    def take_over(self, call_id: UUID) -> Spool | None:
        """The spool of a process that is gone or gave it up. None if a process holds it, or if it is gone."""
        folder = self._root / str(call_id)
        try:
            lock = try_lock(folder)
        except FileNotFoundError:
            return None
        if lock is None:
            return None
        try:
            if not (folder / SOUND).exists():  # it is being erased
                shutil.rmtree(folder, ignore_errors=True)
                lock.close()
                return None
            promise = _PROMISES.validate_json((folder / CALL).read_bytes())
            return Spool(folder, promise, lock, FileIO(folder / SOUND, "ab"))
        except ValueError as error:
            lock.close()
            raise OSError(f"{folder / CALL} cannot be read, so its sound stays there: {error}") from None
        except BaseException:
            lock.close()
            raise


def _header(sound: Sound) -> bytes:
    return b"" if sound.encoding == "container" else header(sound)


def _is_id(name: str) -> bool:
    try:
        UUID(name)
    except ValueError:
        return False
    return True
