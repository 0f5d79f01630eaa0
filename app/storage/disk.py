"""Free space on the disks: how much must stay free, and how to recognize a full disk.

It exists so that uploads are refused while the database and the running jobs still have space.
"""

import errno
import shutil
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from app.errors import InsufficientStorage
from app.process.threads import BoundedThreads
from app.storage.store import StoreUnavailable

CHECK_BYTES = 16 * 1024 * 1024
ANSWER_SECONDS = 5.0
THREADS = 4


def is_disk_full(error: BaseException) -> bool:
    """Returns whether the error means that the disk or the user's quota is full."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def full_disk_as_insufficient_storage() -> Iterator[None]:
    """Raises InsufficientStorage instead of the OSError if the disk gets full within the block."""
    try:
        yield
    except OSError as error:
        if is_disk_full(error):
            raise InsufficientStorage from error
        raise


class FreeSpace:
    """Requires that each disk of `folders` has at least `min_bytes` free before more is written."""

    def __init__(self, folders: Sequence[Path], min_bytes: int) -> None:
        self._folders = folders
        self._min_bytes = min_bytes
        self._threads = BoundedThreads("free-space", THREADS)

    async def require(self, coming: int = 0) -> None:
        """Raises InsufficientStorage if too little would be free after `coming` more bytes.

        Raises StoreUnavailable if a disk is missing or does not answer.
        """
        if await self.free() < self._min_bytes + coming:
            raise InsufficientStorage

    async def free(self) -> int:
        """Returns the free bytes of the fullest disk. Raises StoreUnavailable if a disk does not answer."""
        try:
            return await self._threads.run(self._least, ANSWER_SECONDS)
        except TimeoutError:
            folders = " or ".join(map(str, self._folders))
            raise StoreUnavailable(f"no answer from the disk of {folders}") from None

    async def guard(self, stream: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Yields the same chunks. Checks the free space every CHECK_BYTES, and raises what `require` raises."""
        unchecked = 0
        async for chunk in stream:
            unchecked += len(chunk)
            if unchecked >= CHECK_BYTES:
                await self.require()
                unchecked = 0
            yield chunk

    def _least(self) -> int:
        """Returns the free bytes of the fullest disk. Raises StoreUnavailable if a disk is missing."""
        try:
            return min(shutil.disk_usage(folder).free for folder in self._folders)
        except OSError as error:
            raise StoreUnavailable(f"{error.filename} cannot be used: {error.strerror}") from error
