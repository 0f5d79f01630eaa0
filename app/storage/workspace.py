"""Temporary files of one process: decoded audio, and recordings that come from a bucket.

A process may die and leave its files behind. The workspace makes sure that the next process recognizes and erases them.
"""

import asyncio
import fcntl
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from tempfile import mkdtemp
from threading import Lock
from typing import IO

from app import wording
from app.process.folders import try_lock
from app.process.threads import BoundedThreads
from app.storage.store import StoreUnavailable

TRIAL = bytes(range(256)) * 256
THREADS = 16
ANSWER_SECONDS = 60.0
CHECK_SECONDS = 10.0


class Workspace:
    """A folder of this process under `root`. The constructor erases the folders of dead processes there.

    A process holds a lock on its folder, which the kernel releases even after kill -9. The constructor raises
    StoreUnavailable if it cannot create a folder.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lock: IO[str] | None = None
        self._making = Lock()
        self._threads = BoundedThreads("workspace", THREADS)
        self._checking = BoundedThreads("workspace-check", 1)
        try:
            self._open()
        except OSError as error:
            raise StoreUnavailable(f"{error.filename or root} cannot be used: {wording.of_disk(error)}") from error

    def _open(self) -> None:
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self._root / ".lock").open("w") as everybody:
            fcntl.flock(everybody, fcntl.LOCK_EX)
            for folder in self._root.iterdir():
                if folder.is_dir() and (lock := try_lock(folder)) is not None:
                    shutil.rmtree(folder, ignore_errors=True)
                    lock.close()
            if self._lock is not None:
                self._lock.close()
            self._folder = Path(mkdtemp(dir=self._root))
            self._lock = try_lock(self._folder)

    @asynccontextmanager
    async def folder(self) -> AsyncIterator[Path]:
        """Create a folder for temporary files, which is erased at the end of the block. Raises OSError."""
        folder = await self._threads.run(self._make, ANSWER_SECONDS)
        try:
            yield folder
        finally:
            erase = partial(shutil.rmtree, folder, ignore_errors=True)
            with suppress(TimeoutError):  # the next process erases the rest when it opens its own folder
                await asyncio.shield(self._threads.run(erase, ANSWER_SECONDS))

    def _make(self) -> Path:
        """Create a folder in the process's folder.

        If that is missing, it is created again, because a cleaner of temporary files may have removed it.
        """
        with self._making:
            if not self._folder.exists():
                self._open()
            return Path(mkdtemp(dir=self._folder))

    async def check(self) -> None:
        """Write, sync, read and delete a file. Raises OSError, after CHECK_SECONDS if the disk does not answer."""
        await self._checking.run(self._try_out, CHECK_SECONDS)

    def _try_out(self) -> None:
        folder = self._make()
        try:
            _try_out(folder / "trial")
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def close(self) -> None:
        """Erase the process's folder."""
        shutil.rmtree(self._folder, ignore_errors=True)
        if self._lock is not None:
            self._lock.close()


def _try_out(path: Path) -> None:
    with path.open("wb") as file:
        file.write(TRIAL)
        file.flush()
        os.fsync(file.fileno())
    if path.read_bytes() != TRIAL:
        raise OSError(f"{path} does not hold what was written to it")
    path.unlink()
