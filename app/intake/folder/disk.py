"""Runs the work on a watched folder in threads of its own, with limits on how long it may take.

A network mount that cannot be reached may never answer. Then the folder is unavailable, and the process goes on.
"""

import os
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import TypeVar

from app.intake.folder.names import Seen
from app.intake.folder.place import FolderUnavailable, Place
from app.process.threads import BoundedThreads

THREADS = 8
ANSWER_SECONDS = 60.0
BLOCK_BYTES = 1024 * 1024

T = TypeVar("T")


class Unreadable(Exception):
    """One file cannot be read, as by its rights or by a bad sector. The other files may be fine."""


class Disk:
    """A watched folder whose functions run in threads. All raise FolderUnavailable if there is no answer in time."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self._threads = BoundedThreads("watched-folder", THREADS)

    async def run(self, work: Callable[[], T]) -> T:
        """Returns or raises what `work` does."""
        try:
            return await self._threads.run(work, ANSWER_SECONDS)
        except TimeoutError:
            raise FolderUnavailable(f"{self.place.root} cannot be used: no answer from its disk") from None

    async def blocks(self, seen: Seen, descriptor: int) -> AsyncIterator[bytes]:
        """The bytes of an opened recording. Raises Unreadable."""
        offset = 0
        while block := await self._block(seen, partial(_read, descriptor, offset)):
            offset += len(block)
            yield block

    async def _block(self, seen: Seen, read: Callable[[], bytes]) -> bytes:
        try:
            return await self.run(read)
        except FolderUnavailable:
            raise
        except OSError as error:
            raise Unreadable(f"{seen.name!r}: {error.strerror}") from error


def _read(descriptor: int, offset: int) -> bytes:
    return os.pread(descriptor, BLOCK_BYTES, offset)
