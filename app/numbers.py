"""The numbers of this process, as Prometheus reads them: its counters, and what the database and the disks say.

A scrape must never hold up jobs. So the database is asked at most once in KEPT_SECONDS, by statements that read few
rows, and what it does not say in time is left out.
"""

import asyncio
from dataclasses import replace

from app import metrics
from app.analysis.numbers import analysis_numbers
from app.database.connections import DATABASE_TROUBLE, Database
from app.deliveries.lateness import oldest_overdue_seconds
from app.jobs.reads.numbers import queue_numbers
from app.metrics import Reading
from app.process.kept import Kept
from app.storage.disk import FreeSpace
from app.storage.store import StoreUnavailable

KEPT_SECONDS = 5.0
ANSWER_SECONDS = 3.0


class Numbers:
    """Clients that ask at the same time share one look into the database."""

    def __init__(self, database: Database, free_space: FreeSpace) -> None:
        self._database = database
        self._free_space = free_space
        self._readings = Kept(KEPT_SECONDS, self._look)

    async def text(self, accept: str) -> tuple[bytes, str]:
        """Returns all numbers and their media type, which the `Accept` header chooses."""
        reading = await self._readings.value()
        return await asyncio.to_thread(metrics.exposition, reading, accept)

    async def _look(self) -> Reading:
        reading, free = await asyncio.gather(self._look_into_database(), self._look_at_disks())
        return replace(reading, disk_free_bytes=free)

    async def _look_into_database(self) -> Reading:
        try:
            async with asyncio.timeout(ANSWER_SECONDS), self._database.transaction() as session:
                queue = await queue_numbers(session)
                overdue = await oldest_overdue_seconds(session)
                analyses = await analysis_numbers(session)
        except DATABASE_TROUBLE:
            return Reading()
        return Reading(
            queue.jobs,
            queue.audio_seconds,
            queue.oldest_seconds,
            overdue,
            analyses=analyses.by_status,
            analysis_oldest_seconds=analyses.oldest_seconds,
        )

    async def _look_at_disks(self) -> int | None:
        try:
            return await self._free_space.free()
        except StoreUnavailable:
            return None
