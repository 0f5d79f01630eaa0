"""The heartbeat of a worker: it keeps the leases of running jobs, and takes jobs back from workers that were lost."""

import asyncio
import time
from collections.abc import Callable, Sequence
from uuid import UUID

import structlog

from app.database.connections import Database
from app.database.retries import UninterruptedTime, despite_database_trouble, every
from app.jobs.claims import leases
from app.jobs.claims.ending import AtEnd, now
from app.jobs.lifecycle import Cancelled
from app.jobs.upkeep.retention import Retention
from app.jobs.worker.running import LeaseLost, Running

BEAT_SECONDS = 5.0

log = structlog.stdlib.get_logger("callscribe.jobs")

Stop = Callable[[Running, Cancelled | LeaseLost], None]


class Heartbeat:
    """Beats for the jobs that `running` returns.

    It calls `stop` for a job that a client has cancelled or deleted, or that another worker has taken back.
    """

    def __init__(
        self,
        database: Database,
        retention: Retention,
        at_end: AtEnd,
        *,
        running: Callable[[], Sequence[Running]],
        stop: Stop,
    ) -> None:
        self._database = database
        self._retention = retention
        self._at_end = at_end
        self._running = running
        self._stop = stop
        self._reaching_the_database = UninterruptedTime()
        self._forgotten = asyncio.Queue[tuple[UUID, Sequence[str]]]()

    async def run(self) -> None:
        """Beat until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(every(BEAT_SECONDS, self._beat))
            group.create_task(self._erase_forgotten())

    async def beat_on(self, event: asyncio.Event) -> None:
        """Beat whenever the event is set, until cancelled."""
        while True:
            await event.wait()
            event.clear()
            await despite_database_trouble(self._extend_leases)

    async def _beat(self) -> None:
        """Extend this worker's leases. Then take jobs back from workers whose leases ran out."""
        await self._extend_leases()
        async with self._database.transaction() as session:
            await now(session)
            reached_for = self._reaching_the_database.record(time.monotonic(), longest_gap=2.5 * BEAT_SECONDS)
            if reached_for < 0.9 * BEAT_SECONDS:
                return  # after the database was away all leases have run out, so all workers get time to extend theirs
            ended = await leases.take_back_lost(session, self._at_end)
        for each in ended:
            log.warning(
                "job ended after its worker was lost",
                job=str(each.job.id),
                status=each.job.status,
                crashes=each.job.crashes,
            )
            if each.forgotten_audio:
                self._forgotten.put_nowait((each.job.id, each.forgotten_audio))

    async def _erase_forgotten(self) -> None:
        """Erase the recordings of jobs that have ended. A beat cannot wait for it, because a store may hang."""
        while True:
            await self._retention.erase_audio(*await self._forgotten.get())

    async def _extend_leases(self) -> None:
        """Extend leases, write progress and learn of cancellations, in one statement for all jobs.

        It includes jobs that were asked to stop, because no other worker may claim them before their end is written.
        """
        running = {each.job.lease_token: each for each in self._running()}
        beats = [leases.Beat(each.job.id, token, each.progress) for token, each in running.items()]
        if not beats:
            return
        async with self._database.transaction() as session:
            alive = await leases.heartbeat(session, beats)
        for each in running.values():
            if each.job.id not in alive:
                self._stop(each, LeaseLost())
            elif alive[each.job.id]:
                self._stop(each, Cancelled())
