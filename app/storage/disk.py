"""Free space: what is kept of it for the database and the running jobs, and what a full disk looks like."""

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
    """Whether this is the disk's or the quota's end."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def full_disk_as_no_room() -> Iterator[None]:
    """Raises InsufficientStorage for a disk that fills while a recording is stored, or is brought here to be probed."""
    try:
        yield
    except OSError as error:
        if is_disk_full(error):
            raise InsufficientStorage from error
        raise


class FreeSpace:
    """The least that the disks of some folders have to have free before more is written to them."""

    def __init__(self, folders: Sequence[Path], min_bytes: int) -> None:
        self._folders = folders
        self._min_bytes = min_bytes
        self._threads = BoundedThreads("free-space", THREADS)

    async def require(self, coming: int = 0) -> None:
        """Raises InsufficientStorage where, after `coming` more bytes, less would be free.

        Raises StoreUnavailable where a disk is away or does not answer.
        """
        try:
            free = await self._threads.run(self._least, ANSWER_SECONDS)
        except TimeoutError:
            folders = " or ".join(map(str, self._folders))
            raise StoreUnavailable(f"no answer from the disk of {folders}") from None
        if free < self._min_bytes + coming:
            raise InsufficientStorage

    async def guard(self, stream: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """The same bytes, while there is room. Raises InsufficientStorage."""
        unchecked = 0
        async for chunk in stream:
            unchecked += len(chunk)
            if unchecked >= CHECK_BYTES:
                await self.require()
                unchecked = 0
            yield chunk

    def _least(self) -> int:
        """The least free bytes of the disks. Raises StoreUnavailable where one is away."""
        try:
            return min(shutil.disk_usage(folder).free for folder in self._folders)
        except OSError as error:
            raise StoreUnavailable(f"{error.filename} cannot be used: {error.strerror}") from error
