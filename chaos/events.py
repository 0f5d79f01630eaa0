"""Who is told how jobs end, and the account of it: one event for each job, the same bytes whenever it is repeated."""

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from uuid import UUID

from tests.webhooks.receiver import Receiver, receiving

POLL_SECONDS = 0.5
TELLING_SECONDS = 90.0  # a sender that was killed holds its leases for 20 s, and a host has four places


class Told:
    """What a receiver on this machine was told."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver

    @property
    def fields(self) -> Mapping[str, str]:
        """The form fields of each job that bring its event here."""
        return {"webhook_url": self._receiver.url("/204")}

    @property
    def settings(self) -> Mapping[str, str]:
        """The settings without which the service would not come here."""
        return {"ALLOWED_NETWORKS": "127.0.0.0/8"}

    async def discrepancies(self, ended: Collection[UUID]) -> list[str]:
        """One line for each of these jobs that nobody was told of, or by more than one event id or body."""
        try:
            async with asyncio.timeout(TELLING_SECONDS):
                while not set(ended) <= self._by_job().keys():
                    await asyncio.sleep(POLL_SECONDS)
        except TimeoutError:
            pass  # the lines tell which are missing
        told = self._by_job()
        return [f"{job}: nobody was told of its end" for job in ended if job not in told] + [
            f"{job}: told of by {len(events)} different events" for job, events in told.items() if len(events) > 1
        ]

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
