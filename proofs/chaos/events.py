"""Receives the webhooks of all jobs, and checks them.

Exactly one event must report the end of each job. If it is sent again, it must have the same id and the same bytes.
"""

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager, suppress
from uuid import UUID

from proofs.chaos.audit import Finding, Kind
from testing.receiver import Receiver, receiving

POLL_SECONDS = 0.5
PATIENCE_SECONDS = 90.0  # a killed sender holds its leases for 20 s, and at most four requests go to a host at a time


class Events:
    """The events that a receiver on this machine received."""

    def __init__(self, receiver: Receiver, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self._receiver = receiver
        self._patience_seconds = patience_seconds

    @property
    def fields(self) -> Mapping[str, str]:
        """Returns the form fields that make a job send its event here."""
        return {"webhook_url": self._receiver.url("/204")}

    @property
    def settings(self) -> Mapping[str, str]:
        """Returns the settings that allow the service to send to this machine."""
        return {"ALLOWED_NETWORKS": "127.0.0.0/8"}

    async def discrepancies(self, ended: Collection[UUID]) -> list[Finding]:
        """Returns the jobs in `ended` without an event, and all jobs with more than one event id or body."""
        with suppress(TimeoutError):  # the findings show which events are missing
            await self._until_received(set(ended))
        received = self._by_job()
        lines = [f"{job}: no event reported its end" for job in ended if job not in received]
        lines += [
            f"{job}: {len(events)} events reported its end" for job, events in received.items() if len(events) > 1
        ]
        return [Finding(Kind.EVENTS, line) for line in lines]

    async def _until_received(self, jobs: set[UUID]) -> None:
        """Waits until these jobs are reported. Raises TimeoutError if no new one is reported for `patience_seconds`."""
        so_far = 0
        async with asyncio.timeout(self._patience_seconds) as limit:
            while not jobs <= (reported := self._by_job().keys()):
                if len(reported) > so_far:
                    so_far = len(reported)
                    limit.reschedule(asyncio.get_running_loop().time() + self._patience_seconds)
                await asyncio.sleep(POLL_SECONDS)

    def _by_job(self) -> dict[UUID, set[tuple[str, bytes]]]:
        events: dict[UUID, set[tuple[str, bytes]]] = defaultdict(set)
        for request in self._receiver.received:
            job = UUID(json.loads(request.body)["data"]["id"])
            events[job].add((request.headers["webhook-id"], request.body))
        return events


@asynccontextmanager
async def receiving_events() -> AsyncIterator[Events]:
    """Runs a receiver until the end of the block."""
    async with receiving() as receiver:
        yield Events(receiver)
