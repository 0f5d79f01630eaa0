"""The watched folder on its disk: opens, moves and removes files below it, and never follows a link.

Clients may write to the folder, so each step of a path is opened by itself and must be a real folder or file. All
functions block. `disk.py` runs them in threads.
"""

import errno
import fcntl
import os
import shutil
import signal
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path

from app import wording
from app.intake.folder.names import Parts, Seen, numbered
from app.storage.disk import is_disk_full

ACCEPTED, REFUSED, DONE = ".accepted", ".refused", ".done"
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # O_NONBLOCK, because a pipe would wait for a writer
NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
NO_FILE = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP)  # ELOOP: it is a link
MOST_NUMBERED = 10_000


Opened = FileIO  # closes itself when it is forgotten, so that a late answer of the disk keeps no lock


class FolderUnavailable(OSError):
    """The watched folder cannot be used now. The text is for the operator."""


class Gone(Exception):
    """The path leads to no regular file any more, or to one that another process works on."""


class Place:
    """A watched folder. `prepare` makes its own folders in it; if they are missing later, its disk is not mounted."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def prepare(self) -> None:
        """Make the folders for what is accepted and refused. Raises FolderUnavailable."""
        try:
            for name in (ACCEPTED, REFUSED):
                with self.folder((name,), make=True):
                    pass
            self.now_ns()
        except Gone:
            raise FolderUnavailable(f"{self.root} needs folders {ACCEPTED} and {REFUSED}, not links or files") from None
        except OSError as error:
            raise FolderUnavailable(f"{self.root} cannot be used: {wording.of_disk(error)}") from error

    @contextmanager
    def accepted_folder(self) -> Iterator[int]:
        """The descriptor of the folder of accepted recordings. Raises FolderUnavailable."""
        try:
            with self.folder((ACCEPTED,)) as folder:
                yield folder
        except (Gone, FileNotFoundError):
            raise FolderUnavailable(f"{self.root} has no folder {ACCEPTED}: is its disk mounted?") from None

    def now_ns(self) -> int:
        """The time by the clock that dates files here, which is the server's on a network mount.

        Writes to the disk, because it may be readable and full of errors for writers. A full disk is no error, because
        recordings are still taken from it and removed. Raises FolderUnavailable.
        """
        with self.accepted_folder():
            pass
        try:
            with tempfile.TemporaryFile(dir=self.root / ACCEPTED, buffering=0) as file:
                file.write(b"a")
                return os.fstat(file.fileno()).st_mtime_ns
        except OSError as error:
            if not is_disk_full(error):
                raise
        return time.time_ns()

    @contextmanager
    def folder(self, parts: Parts, *, make: bool = False) -> Iterator[int]:
        """The descriptor of a folder below the root. Raises Gone if a part of the path is not a folder."""
        descriptor = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for name in parts:
                is_new = make and _make(name, descriptor)
                below = os.open(name, FOLDER, dir_fd=descriptor)
                os.close(descriptor)
                descriptor = below
                if is_new:  # with the rights of the watched folder, so that its clients can look into it
                    os.fchmod(descriptor, self._rights)
            yield descriptor
        except OSError as error:
            if error.errno in NO_FILE:
                raise Gone from error
            raise
        finally:
            os.close(descriptor)

    @property
    def _rights(self) -> int:
        return stat.S_IMODE(self.root.stat().st_mode)

    def status(self, parts: Parts) -> os.stat_result | None:
        """None if there is no regular file."""
        with suppress(Gone), self.folder(parts[:-1]) as folder:
            found = os.stat(parts[-1], dir_fd=folder, follow_symlinks=False)
            return found if stat.S_ISREG(found.st_mode) else None
        return None

    def open(self, parts: Parts) -> int:
        """Open a regular file for reading. Raises Gone."""
        with self.folder(parts[:-1]) as folder:
            descriptor = os.open(parts[-1], FILE, dir_fd=folder)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise Gone
        return descriptor

    def open_alone(self, seen: Seen) -> Opened:
        """Open a recording that no other process of the service works on. Raises Gone."""
        file = open(self.open(seen.parts), "rb", buffering=0)  # noqa: PTH123, SIM115  the caller closes it
        try:
            _lock(file.fileno())
        except BaseException:
            file.close()
            raise
        return file

    def is_unchanged(self, seen: Seen, descriptor: int) -> bool:
        """Whether the path still leads to the opened file, and the file is as it was seen."""
        found = self.status(seen.parts)
        return found is not None and seen == Seen.of(seen.parts, found) == Seen.of(seen.parts, os.fstat(descriptor))

    def small_file(self, parts: Parts, most_bytes: int) -> tuple[bytes, Seen] | None:
        """Up to `most_bytes` and one more of a file. None if there is none."""
        try:
            descriptor = self.open(parts)
        except Gone:
            return None
        with open(descriptor, "rb") as file:  # noqa: PTH123  it is a descriptor
            return file.read(most_bytes + 1), Seen.of(parts, os.fstat(descriptor))

    def move(self, source: Parts, target: Parts) -> bool:
        """Move a file to a place where nothing else can be. False if the file is gone, or another process moved it."""
        for _ in range(3):
            with suppress(Gone), self.folder(source[:-1]) as old, self.folder(target[:-1], make=True) as new:
                os.rename(source[-1], target[-1], src_dir_fd=old, dst_dir_fd=new)
                os.fsync(new)
                os.fsync(old)
                return True
            if self.status(source) is None:
                return False
        raise FolderUnavailable(f"{self.root} has a folder that is removed again and again")

    def move_to_free_name(self, source: Parts, target: Parts) -> Parts | None:
        """Move a file, under a number if its name is taken, because a client may have sent another one meanwhile.

        Returns where it is now, and None if it is gone.
        """
        for number in range(1, MOST_NUMBERED):
            numbered_target = (*target[:-1], numbered(target[-1], number))
            with suppress(FileExistsError):
                return numbered_target if self.move_to(source, numbered_target) else None
        raise FolderUnavailable(f"{self.root} has too many files of the same name in {target[0]}")

    def move_to(self, source: Parts, target: Parts) -> bool:
        """Raises FileExistsError. A file system without hard links leaves a moment in which a file is replaced."""
        with suppress(Gone), self.folder(source[:-1]) as old, self.folder(target[:-1], make=True) as new:
            try:
                os.link(source[-1], target[-1], src_dir_fd=old, dst_dir_fd=new, follow_symlinks=False)
            except OSError as error:
                if error.errno not in NO_LINKS:
                    raise
                if self.status(target) is not None:
                    raise FileExistsError from error
                os.rename(source[-1], target[-1], src_dir_fd=old, dst_dir_fd=new)
            else:
                os.unlink(source[-1], dir_fd=old)
            os.fsync(new)
            return True
        return False

    def write(self, parts: Parts, content: bytes) -> None:
        """Write a whole file, which everybody may read who may read the watched folder."""
        with self.folder(parts[:-1], make=True) as folder:
            temporary = f".{os.getpid()}-{os.urandom(4).hex()}.tmp"
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, dir_fd=folder)
            try:
                with open(descriptor, "wb") as file:  # noqa: PTH123
                    file.write(content)
                    file.flush()
                    os.fchmod(descriptor, self._rights & 0o666)
                    os.fsync(descriptor)
                os.rename(temporary, parts[-1], src_dir_fd=folder, dst_dir_fd=folder)
            except BaseException:
                with suppress(OSError):
                    os.unlink(temporary, dir_fd=folder)
                raise
            os.fsync(folder)

    def remove(self, parts: Parts) -> None:
        """Remove a file. A missing one is no error."""
        with suppress(Gone), self.folder(parts[:-1]) as folder:
            os.unlink(parts[-1], dir_fd=folder)

    def remove_tree(self, parts: Parts) -> None:
        """Remove a folder of ours with all that is in it. A missing one is no error."""
        with suppress(Gone), self.folder(parts[:-1]) as folder, suppress(FileNotFoundError):
            shutil.rmtree(parts[-1], dir_fd=folder)

    def remove_if_empty(self, parts: Parts) -> None:
        """Remove a folder of ours with its empty folders, unless there is a file in it."""
        for name in self.folders(parts):
            self.remove_if_empty((*parts, name))
        with suppress(Gone, OSError), self.folder(parts[:-1]) as folder:
            os.rmdir(parts[-1], dir_fd=folder)

    def folders(self, parts: Parts) -> list[str]:
        """The names of the folders in a folder of ours."""
        with suppress(Gone), self.folder(parts) as folder:
            return [entry.name for entry in os.scandir(folder) if entry.is_dir(follow_symlinks=False)]
        return []

    def files(self, parts: Parts) -> list[Seen]:
        """All regular files below a folder of ours, which has few."""
        found: list[Seen] = []
        with suppress(Gone), self.folder(parts) as folder:
            for entry in os.scandir(folder):
                if entry.is_dir(follow_symlinks=False):
                    found += self.files((*parts, entry.name))
                elif entry.is_file(follow_symlinks=False):
                    with suppress(FileNotFoundError):
                        found.append(Seen.of((*parts, entry.name), entry.stat(follow_symlinks=False)))
        return found


def _make(name: str, folder: int) -> bool:
    """Make a folder. Returns whether it is new."""
    try:
        os.mkdir(name, dir_fd=folder)
    except FileExistsError:
        return False
    return True


def _lock(descriptor: int) -> None:
    """Raises Gone if another process holds the lock. The kernel ends it even after kill -9.

    A file system may have no locks. Then two processes may read the same file, and one of them makes its job.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise Gone from None
    except OSError:
        pass


def is_being_written(descriptor: int) -> bool:
    """Whether some process has the file open for writing, as far as the kernel says so.

    It says so about local disks, to the file's owner and to processes with the right to lease files.
    """
    if sys.platform != "linux":
        return False
    fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)  # a writer that comes now must not end this process
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as error:
        return error.errno == errno.EAGAIN
    fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return False
