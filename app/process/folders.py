"""Folders and files that a process shares with others, or that survive it: locks, whole writes, synced changes."""

import fcntl
import os
from io import FileIO
from pathlib import Path
from typing import IO

LOCK = ".lock"


def sync_folder(folder: Path) -> None:
    """Write the entries of the folder to the disk. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def try_lock(folder: Path) -> IO[str] | None:
    """Locks a folder until the returned file is closed, or the process is gone. None if another process holds it.

    Raises FileNotFoundError if there is no such folder.
    """
    lock = (folder / LOCK).open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        return None
    return lock


def write_whole(file: FileIO, content: bytes) -> None:
    """Writes all of the content, because a file without a buffer may take only a part at a time. Raises OSError."""
    unwritten = memoryview(content)
    while unwritten:
        unwritten = unwritten[file.write(unwritten) :]
