"""Where a process keeps files for as long as it needs them: decoded audio, recordings on their way from a bucket."""

import fcntl
import shutil
import tempfile
from pathlib import Path
from typing import IO

from app.audio.store import StoreUnavailable


class Workspace:
    """A folder of this process's own under `root`. What dead processes left there is erased when one is opened.

    A process holds a lock on its folder, which the kernel lets go even after kill -9. Raises StoreUnavailable where no
    folder can be made.
    """

    def __init__(self, root: Path) -> None:
        try:
            self._open(root)
        except OSError as error:
            raise StoreUnavailable(f"{error.filename or root} cannot be used: {error.strerror}") from error

    def _open(self, root: Path) -> None:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (root / ".lock").open("w") as everybody:
            fcntl.flock(everybody, fcntl.LOCK_EX)
            for folder in root.iterdir():
                if folder.is_dir() and (lock := _try_lock(folder)) is not None:
                    shutil.rmtree(folder, ignore_errors=True)
                    lock.close()
            self._folder = Path(tempfile.mkdtemp(dir=root))
            self._lock = _try_lock(self._folder)

    def folder(self) -> tempfile.TemporaryDirectory[str]:
        """A folder for one job, gone at the end of the block."""
        return tempfile.TemporaryDirectory(dir=self._folder)

    def close(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
        if self._lock is not None:
            self._lock.close()


def _try_lock(folder: Path) -> IO[str] | None:
    lock = (folder / ".lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        return None
    return lock
