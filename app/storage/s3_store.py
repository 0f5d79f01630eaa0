"""Recordings in a bucket, so that every replica can read what another one accepted.

The S3 library belongs to `storage/s3.py`, which is the only module that may import it.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from app.storage.s3 import Bucket, Download
from app.storage.s3_url import S3Url
from app.storage.store import Measured, RecordingMissing, StoredAudio
from app.storage.workspace import Workspace


class S3AudioStore:
    """Keeps recordings in a bucket, under the prefix of `place`. Copies that are read as files are in `workspace`."""

    def __init__(self, place: S3Url, workspace: Workspace) -> None:
        self._bucket = Bucket(place.bucket, place.key)
        self._workspace = workspace

    async def save(self, key: str, stream: AsyncIterator[bytes], max_bytes: int) -> StoredAudio:
        recording = Measured(stream, max_bytes)
        await self._bucket.write(key, aiter(recording))
        return recording.stored_as(key)

    @asynccontextmanager
    async def local_path(self, key: str) -> AsyncIterator[Path]:
        async with self._workspace.folder() as folder:
            path = folder / "recording"
            download = await self._begin_to_read(key)
            with path.open("wb") as file:
                async for block in download.blocks:
                    await asyncio.to_thread(file.write, block)
            yield path

    async def read(self, key: str, span: range) -> AsyncIterator[bytes]:
        return (await self._begin_to_read(key, span)).blocks

    async def _begin_to_read(self, key: str, span: range | None = None) -> Download:
        try:
            return await self._bucket.read(key, span)
        except FileNotFoundError:
            raise RecordingMissing(key) from None

    async def copy(self, key: str, copy_key: str) -> None:
        """The bucket copies the object by itself, which Amazon does up to 5 GB."""
        try:
            await self._bucket.copy(key, copy_key)
        except FileNotFoundError:
            raise RecordingMissing(key) from None

    async def delete(self, key: str) -> None:
        await self._bucket.delete(key)

    async def untouched(self, seconds: float) -> list[str]:
        """Incomplete uploads are not included, because a rule of the bucket erases their remains (docs/deploy.md)."""
        return await self._bucket.written_before(datetime.now(UTC) - timedelta(seconds=seconds))

    async def check(self) -> None:
        await self._bucket.check()
