"""Jobs that have ended, and senders that run."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from ipaddress import ip_network
from typing import Any
from uuid import UUID

from app.database.connections import Database
from app.database.notifications import Signals
from app.deliveries import outbox
from app.deliveries.channels import Channels
from app.deliveries.http import http_channels, open_client
from app.deliveries.models import Delivery, DeliveryAttempt, DeliveryStatus
from app.deliveries.sender import DeliverySender
from app.jobs.claims import queue
from app.jobs.claims.capacity import Capacity
from app.jobs.lifecycle import Outcome
from app.jobs.models import Transcription
from app.network.guard import NetworkGuard
from testing.rows import KEEP_AUDIO, SUCCESS, enqueue
from testing.waiting import until

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
THIS_MACHINE = NetworkGuard([ip_network("127.0.0.0/8")])


async def end(database: Database, *webhooks: str, outcome: Outcome = SUCCESS, **columns: Any) -> Transcription:
    """A transcription that has just ended."""
    job = await enqueue(database, webhook_urls=list(webhooks), **columns)
    async with database.transaction() as session:
        [claimed] = await queue.claim(session, "worker", Capacity(1))
        await queue.finish(session, claimed, outcome, KEEP_AUDIO)
    return job


async def deliveries(database: Database, job_id: UUID) -> list[Delivery]:
    async with database.transaction() as session:
        return [delivery for _, delivery in await outbox.find(session, job_id)]


async def attempts(database: Database, delivery: Delivery) -> list[DeliveryAttempt]:
    async with database.transaction() as session:
        return list(await outbox.attempts(session, [delivery.id]))


async def tried(database: Database, job_id: UUID, times: int = 1) -> list[Delivery]:
    """The deliveries of a transcription, after each has had `times` attempts and none is under way."""
    return await _once_all(database, job_id, lambda one: one.attempts >= times and one.lease_token is None)


async def settled(database: Database, job_id: UUID) -> list[Delivery]:
    """The deliveries of a transcription, after none is pending any more."""
    return await _once_all(database, job_id, lambda one: one.status != DeliveryStatus.PENDING)


async def _once_all(database: Database, job_id: UUID, is_so: Callable[[Delivery], bool]) -> list[Delivery]:
    found: list[Delivery] = []

    async def all_are_so() -> bool:
        found[:] = await deliveries(database, job_id)
        return found != [] and all(map(is_so, found))

    await until(all_are_so)
    return found


@asynccontextmanager
async def sending(
    database: Database, *, guard: NetworkGuard = THIS_MACHINE, grace_seconds: float = 5, attempt_seconds: float = 15
) -> AsyncIterator[DeliverySender]:
    """A sender that sends over HTTP until the end of the block and is drained then."""
    async with open_client(guard) as client, sending_by(database, http_channels(client, attempt_seconds)) as sender:
        yield sender
        await sender.drain(grace_seconds)
        await sender.idle()


@asynccontextmanager
async def sending_by(database: Database, channels: Channels) -> AsyncIterator[DeliverySender]:
    """A sender that sends by these channels until the end of the block and is drained then."""
    signals = Signals(database)
    sender = DeliverySender(database, signals, channels, [SECRET])
    tasks = [asyncio.create_task(signals.run()), asyncio.create_task(sender.run())]
    try:
        yield sender
        await sender.drain(5)
        await asyncio.wait_for(tasks[1], 10)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
