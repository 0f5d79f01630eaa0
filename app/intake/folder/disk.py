"""Runs the work on a watched folder in threads of its own, with limits on how long it may take.

A network mount that cannot be reached may never answer. Then the folder is unavailable, and the process goes on.
"""

import errno
import os
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import TypeVar

from app import wording
from app.intake.folder.place import FolderUnavailable, Place
from app.process.threads import BoundedThreads

THREADS = 8
ANSWER_SECONDS = 60.0
BLOCK_BYTES = 1024 * 1024
OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ESTALE, errno.ENODEV, errno.EMFILE, errno.ENFILE)

T = TypeVar("T")


class Unreadable(Exception):
    """One file cannot be read or moved, as by its rights or by a bad sector. The other files may be fine."""


class Disk:
    """A watched folder whose functions run in threads. All raise FolderUnavailable if there is no answer in time."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self._threads = BoundedThreads("watched-folder", THREADS)

    async def run(self, work: Callable[[], T]) -> T:
        """Returns what `work` does. Raises Gone as it does, and Unreadable for trouble with one file."""
        try:
            return await self._threads.run(work, ANSWER_SECONDS)
        except TimeoutError:
            raise FolderUnavailable(f"{self.place.root} cannot be used: no answer from its disk") from None
        except FolderUnavailable:
            raise
        except OSError as error:
            if error.errno in OF_THE_DISK:
                raise FolderUnavailable(f"{self.place.root} cannot be used: {error.strerror}") from error
            raise Unreadable(wording.of_disk(error)) from error

    async def blocks(self, descriptor: int) -> AsyncIterator[bytes]:
        """The bytes of an opened recording."""
        offset = 0
        while block := await self.run(partial(_read, descriptor, offset)):
            offset += len(block)
            yield block


def _read(descriptor: int, offset: int) -> bytes:
    return os.pread(descriptor, BLOCK_BYTES, offset)
