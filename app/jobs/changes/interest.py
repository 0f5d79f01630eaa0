"""Keeps jobs alive whose clients wait on open connections, and cancels those that no client waits for any more.

Each process that answers HTTP says again and again which jobs its clients wait for. The database keeps that, so a
client may repeat its request at another process, or at the same one after a restart.
"""

import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from uuid import UUID

import structlog

from app.access.callers import Caller
from app.database.connections import Database
from app.database.retries import UninterruptedTime, every
from app.errors import Abandoned, AppError
from app.jobs.changes import awaited, changing
from app.jobs.changes.awaited import Upload
from app.jobs.claims.ending import AtEnd
from app.jobs.models import AwaitedJob
from app.jobs.upkeep.retention import Retention
from app.process.counting import counted

BEAT_SECONDS = 5.0
MOST_CANCELLED = 100  # in one beat
ABANDONED = "The client closed its connection and did not repeat its request within 20 seconds."

log = structlog.stdlib.get_logger("callscribe.jobs")


class Interest:
    """The interest of this process's clients in their jobs. With `keep_abandoned`, no job is cancelled."""

    def __init__(self, database: Database, retention: Retention, at_end: AtEnd, *, keep_abandoned: bool) -> None:
        self._database = database
        self._retention = retention
        self._at_end = at_end
        self._keep_abandoned = keep_abandoned
        self._awaited: Counter[UUID] = Counter()
        self._kept: Counter[UUID] = Counter()
        self._reaching_the_database = UninterruptedTime()

    @contextmanager
    def held(self, transcription_id: UUID) -> Iterator[None]:
        """Keeps the job awaited until the block ends."""
        with counted(self._awaited, [transcription_id]):
            yield

    @asynccontextmanager
    async def during(self, upload: Upload) -> AsyncIterator[None]:
        """Keeps those jobs awaited that the upload may repeat, until the block ends.

        A repeated request shows which job it repeats only when all of its recording has arrived. That may take longer
        than the job would wait.
        """
        async with self._database.transaction() as session:
            kept = await awaited.repeated_by(session, upload)
        with counted(self._kept, kept):
            yield

    async def run(self) -> None:
        """Beat until cancelled."""
        await every(BEAT_SECONDS, self.beat)

    async def beat(self) -> None:
        """Extend the interest of this process's clients. Then cancel jobs that are abandoned.

        After the database was away, and after a start, the processes and the clients first get time to come back.
        """
        async with self._database.transaction() as session:
            if self._awaited:
                await awaited.extend(session, list(self._awaited))
            if self._kept:
                await awaited.keep(session, list(self._kept))
            await awaited.forget_ended(session)
            abandoned = [] if self._keep_abandoned else await awaited.abandoned(session, MOST_CANCELLED)
        reached_for = self._reaching_the_database.record(time.monotonic(), longest_gap=2.5 * BEAT_SECONDS)
        if reached_for >= awaited.GRACE.total_seconds():
            for each in abandoned:
                await self._cancel(each)

    async def _cancel(self, abandoned: AwaitedJob) -> None:
        job_id = abandoned.transcription_id
        try:
            async with self._database.transaction() as session:
                caller = Caller.of_label(abandoned.caller)
                await changing.lock(session, job_id, caller)  # first, as all other changes do
                if not await awaited.give_up(session, job_id):
                    return
                closed = await changing.request_cancel(session, job_id, caller, self._at_end, why=Abandoned(ABANDONED))
        except AppError:  # it has ended or was deleted meanwhile
            return
        log.info("job cancelled, because no client waits for it any more", job=str(job_id))
        await self._retention.erase_audio(job_id, closed.forgotten_audio)
