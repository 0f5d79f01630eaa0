"""What every store of recordings does. There is one for a folder and one for a bucket.

A store knows recordings only by their keys. Which job a recording belongs to is written in the job's row.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from app.errors import TooLarge

BLOCK_BYTES = 128 * 1024


class StoreUnavailable(OSError):
    """The store cannot be used now, or is set up wrongly. The text is for the operator and has no secrets."""


class RecordingMissing(FileNotFoundError):
    """The store works, and the recording is not in it."""


@dataclass(frozen=True)
class StoredAudio:
    """A recording whose last byte is durable. `sha256` is in hexadecimal digits.

    If it is not `kept`, its bytes were only counted and hashed.
    """

    key: str
    bytes: int
    sha256: str
    kept: bool = True


class AudioStore(Protocol):
    """Keeps recordings by their keys, which have no slashes.

    All methods raise an OSError for trouble with the store: StoreUnavailable, or that of a full disk.
    """

    async def save(self, key: str, stream: AsyncIterator[bytes], max_bytes: int) -> StoredAudio:
        """Store a stream under `key`. When this returns, the recording survives a crash.

        Little of the stream is in memory. Raises TooLarge if it has more than `max_bytes`, and raises what the stream
        raises. If this raises, nothing is stored.
        """

    def local_path(self, key: str) -> AbstractAsyncContextManager[Path]:
        """Gives the recording as a file on this machine, until the end of the block. Raises RecordingMissing."""

    async def read(self, key: str, span: range) -> AsyncIterator[bytes]:
        """Returns an iterator over the bytes at the offsets `span`, which reads them while they are used.

        Raises RecordingMissing before it returns.
        """

    async def copy(self, key: str, copy_key: str) -> None:
        """Store the recording under a second key too, so that erasing one leaves the other.

        When this returns, the copy survives a crash. Raises RecordingMissing.
        """

    async def delete(self, key: str) -> None:
        """Erase the recording. A missing recording is no error."""

    async def untouched(self, seconds: float) -> list[str]:
        """Returns the keys of recordings, complete or not, that were last written to longer than `seconds` ago.

        Amazon dates an object by the start of its upload. So an object whose upload took longer than `seconds` is
        included as soon as it is complete.
        """

    async def check(self) -> None:
        """Raises OSError if the store cannot be used now."""


class Measured:
    """Yields a stream in blocks of at least BLOCK_BYTES, except the last, and counts and hashes its bytes.

    Raises TooLarge as soon as there are more than `max_bytes`.
    """

    def __init__(self, stream: AsyncIterator[bytes], max_bytes: int) -> None:
        self._stream = stream
        self._max_bytes = max_bytes
        self._digest = hashlib.sha256()
        self._bytes = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        chunks, gathered = list[bytes](), 0
        async for chunk in self._stream:
            self._bytes += len(chunk)
            if self._bytes > self._max_bytes:
                raise TooLarge(f"The recording is larger than {self._max_bytes} bytes.")
            chunks.append(chunk)
            gathered += len(chunk)
            if gathered >= BLOCK_BYTES:
                block = b"".join(chunks)  # no copy if there is only one chunk
                chunks, gathered = [], 0
                yield await self._hashed(block)
        if chunks:
            yield await self._hashed(b"".join(chunks))

    async def _hashed(self, block: bytes) -> bytes:
        await asyncio.to_thread(self._digest.update, block)
        return block

    def stored_as(self, key: str) -> StoredAudio:
        """Returns the facts of the stream. Call it after the last block."""
        return StoredAudio(key=key, bytes=self._bytes, sha256=self._digest.hexdigest())
