"""Clients that wait for a job to end: limits how many wait, and wakes them.

A notification of the database wakes a client. One query a second for all clients finds the changes whose notification
was lost. A client that waits holds no database connection.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from uuid import UUID

from app.access.callers import tenant_of
from app.database.connections import Database
from app.database.notifications import Signals
from app.database.retries import despite_database_trouble
from app.jobs.reads import reading
from app.jobs.topics import changed_topic
from app.process.counting import counted
from app.process.places import Holders
from app.process.shares import Shares

# Nginx and most load balancers give up 60 s after they have sent a request, so the service answers earlier. One second
# of the rest is for the last read of the job.
LONGEST_WAIT_SECONDS = 54.0
POLL_SECONDS = 1.0
MOST_WAITING = 1000
MOST_OF_A_CALLER = 400
FEW = 20


def answer_at(arrived: float, wait: float) -> float:
    """Returns when a request that arrived at `arrived` and may wait for `wait` seconds has to be answered."""
    return arrived + min(wait, LONGEST_WAIT_SECONDS)


class Waiting:
    """At most `most` clients of this process wait at the same time, and at most `most_of_a_caller` with one key.

    If there are several tenants, the limit of a key also holds for each tenant.
    """

    def __init__(
        self,
        database: Database,
        signals: Signals,
        *,
        most: int = MOST_WAITING,
        most_of_a_caller: int = MOST_OF_A_CALLER,
        shares: Shares | None = None,
    ) -> None:
        self._database = database
        self._signals = signals
        self._most = most
        self._holders = Holders(most, most_of_a_caller, shares)
        self._jobs: Counter[UUID] = Counter()
        self._polling: asyncio.Task[None] | None = None

    def has_room(self, caller: str) -> bool:
        """Whether one more client with this key may wait. The last quarter of the places is for those with few."""
        holders, tenant = self._holders, tenant_of(caller)
        own = holders.of_owner[caller] if holders.shares.tenants < 2 else holders.of_tenant[tenant]
        return holders.has_room(caller, tenant) and (holders.free > self._most // 4 or own < FEW)

    def place(self, caller: str) -> AbstractContextManager[None]:
        """Count one more client with this key until the block ends, whatever it waits for."""
        return self._holders.holding(caller, tenant_of(caller))

    @contextmanager
    def join(self, transcription_id: UUID, caller: str) -> Iterator[asyncio.Event | None]:
        """Wait as one of the clients until the block ends. Gives an event that is set when the job may have changed.

        Gives None if too many clients wait already.
        """
        if not self.has_room(caller):
            yield None
            return
        with (
            self._signals.subscribe(changed_topic(transcription_id)) as changed,
            self.place(caller),
            counted(self._jobs, [transcription_id]),
        ):
            if self._polling is None or self._polling.done():
                self._polling = asyncio.create_task(self._poll())
            yield changed

    async def _poll(self) -> None:
        while self._jobs:
            await asyncio.sleep(POLL_SECONDS)
            await despite_database_trouble(self._wake_ended)

    async def _wake_ended(self) -> None:
        """Wake the clients that wait for a job that has ended or was deleted."""
        ids = list(self._jobs)
        async with self._database.transaction() as session:
            going_on = await reading.going_on(session, ids)
        for transcription_id in set(ids) - going_on:
            self._signals.wake(changed_topic(transcription_id))
