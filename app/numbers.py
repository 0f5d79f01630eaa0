"""The numbers of this process, as Prometheus reads them: its counters, and what the database and the disks say.

A scrape must never hold up jobs. So the database is asked at most once in KEPT_SECONDS, by statements that read few
rows, and what it does not say in time is left out.
"""

import asyncio
import time
from dataclasses import replace
from math import inf

from app import metrics
from app.database.connections import DATABASE_TROUBLE, Database
from app.deliveries.lateness import oldest_overdue_seconds
from app.jobs.numbers import queue_numbers
from app.metrics import Reading
from app.storage.disk import FreeSpace
from app.storage.store import StoreUnavailable

KEPT_SECONDS = 5.0
ANSWER_SECONDS = 3.0


class Numbers:
    """Clients that ask at the same time share one look into the database."""

    def __init__(self, database: Database, free_space: FreeSpace) -> None:
        self._database = database
        self._free_space = free_space
        self._kept, self._kept_at = Reading(), -inf
        self._looking: asyncio.Task[Reading] | None = None

    async def text(self, accept: str) -> tuple[bytes, str]:
        """Returns all numbers and their media type, which the `Accept` header chooses."""
        reading = await self._reading()
        return await asyncio.to_thread(metrics.exposition, reading, accept)

    async def _reading(self) -> Reading:
        if time.monotonic() - self._kept_at < KEPT_SECONDS:
            return self._kept
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
        return await asyncio.shield(self._looking)

    async def _look(self) -> Reading:
        reading, free = await asyncio.gather(self._look_into_database(), self._look_at_disks())
        self._kept, self._kept_at = replace(reading, disk_free_bytes=free), time.monotonic()
        return self._kept

    async def _look_into_database(self) -> Reading:
        try:
            async with asyncio.timeout(ANSWER_SECONDS), self._database.transaction() as session:
                queue = await queue_numbers(session)
                overdue = await oldest_overdue_seconds(session)
        except DATABASE_TROUBLE:
            return Reading()
        return Reading(queue.jobs, queue.audio_seconds, queue.oldest_seconds, overdue)

    async def _look_at_disks(self) -> int | None:
        try:
            return await self._free_space.free()
        except StoreUnavailable:
            return None
