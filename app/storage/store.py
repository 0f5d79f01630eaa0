"""What every store of recordings does. There is one for a folder and one for a bucket.

A store must not know jobs; it knows recordings only by their keys.
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
    """The store cannot be used now, or its setup is wrong. The text is for the operator and has no secrets."""


class RecordingMissing(FileNotFoundError):
    """The store works, and the recording is not in it."""


@dataclass(frozen=True)
class StoredAudio:
    """What is known of a recording once its last byte is durable."""

    key: str
    bytes: int
    sha256: str


class AudioStore(Protocol):
    """Every method but `untouched` takes a key without slashes. Trouble with the store is an OSError."""

    async def save(self, key: str, stream: AsyncIterator[bytes], max_bytes: int) -> StoredAudio:
        """Keep a stream durably under `key`, with little of it in memory. Raises TooLarge, and then keeps nothing."""

    def local_path(self, key: str) -> AbstractAsyncContextManager[Path]:
        """The recording as a file on this machine, for the length of the block. Raises RecordingMissing."""

    async def read(self, key: str, span: range) -> AsyncIterator[bytes]:
        """The bytes at the offsets `span`, read as they are asked for. Raises RecordingMissing before the first."""

    async def delete(self, key: str) -> None:
        """Erase the recording. A missing recording is no error."""

    async def untouched(self, seconds: float) -> list[str]:
        """The keys, complete or not, that were not written to for this time.

        Amazon dates an object by the start of its upload. So a longer upload is included once it is complete.
        """

    async def check(self) -> None:
        """Raises OSError if recordings cannot be kept."""


class Measured:
    """A stream in blocks of a good size for a disk, counted and hashed. Raises TooLarge at the first byte too many."""

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
        return StoredAudio(key=key, bytes=self._bytes, sha256=self._digest.hexdigest())
