"""Who is told how jobs end, and the account of it: one event for each job, the same bytes whenever it is repeated."""

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager, suppress
from uuid import UUID

from proofs.chaos.audit import Finding, Kind
from testing.receiver import Receiver, receiving

POLL_SECONDS = 0.5
TELLING_SECONDS = 90.0  # without news: a sender that was killed holds its leases for 20 s, and a host has four places


class Told:
    """What a receiver on this machine was told."""

    def __init__(self, receiver: Receiver, patience_seconds: float = TELLING_SECONDS) -> None:
        self._receiver = receiver
        self._patience_seconds = patience_seconds

    @property
    def fields(self) -> Mapping[str, str]:
        """The form fields of each job that bring its event here."""
        return {"webhook_url": self._receiver.url("/204")}

    @property
    def settings(self) -> Mapping[str, str]:
        """The settings without which the service would not come here."""
        return {"ALLOWED_NETWORKS": "127.0.0.0/8"}

    async def discrepancies(self, ended: Collection[UUID]) -> list[Finding]:
        """Those of these jobs that nobody was told of, and all that were told of by more than one event id or body."""
        with suppress(TimeoutError):  # what is found tells which are missing
            await self._until_told(set(ended))
        told = self._by_job()
        lines = [f"{job}: nobody was told of its end" for job in ended if job not in told]
        lines += [f"{job}: told of by {len(events)} events" for job, events in told.items() if len(events) > 1]
        return [Finding(Kind.EVENTS, line) for line in lines]

    async def _until_told(self, jobs: set[UUID]) -> None:
        """Raises TimeoutError when nothing new was told for a while."""
        so_far = 0
        async with asyncio.timeout(self._patience_seconds) as limit:
            while not jobs <= (told := self._by_job().keys()):
                if len(told) > so_far:
                    so_far = len(told)
                    limit.reschedule(asyncio.get_running_loop().time() + self._patience_seconds)
                await asyncio.sleep(POLL_SECONDS)

    def _by_job(self) -> dict[UUID, set[tuple[str, bytes]]]:
        events: dict[UUID, set[tuple[str, bytes]]] = defaultdict(set)
        for request in self._receiver.received:
            job = UUID(json.loads(request.body)["data"]["id"])
            events[job].add((request.headers["webhook-id"], request.body))
        return events


@asynccontextmanager
async def telling() -> AsyncIterator[Told]:
    """A receiver for the length of the block."""
    async with receiving() as receiver:
        yield Told(receiver)
