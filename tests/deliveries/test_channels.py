"""The seam between the sender and its channels: a channel that is only a list gets what an HTTP channel gets."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from app.database.connections import Database
from app.deliveries import sender
from app.deliveries.channels import Outgoing, Reply, Result
from app.deliveries.models import DeliveryStatus, Style
from testing.rows import execute
from tests.deliveries.conftest import SECRET, attempts, deliveries, end, sending_by, settled, tried


class ListChannel:
    """Collects deliveries. It replies as the test wants, and raises for URLs that end in `broken`."""

    def __init__(self, *results: Result, wait: timedelta = timedelta(0)) -> None:
        self.sent: list[Outgoing] = []
        self._results = list(results)
        self._wait = wait

    async def send(self, delivery: Outgoing) -> Reply:
        self.sent.append(delivery)
        if delivery.url.endswith("broken"):
            raise RuntimeError("a fault of the channel")
        result = self._results.pop(0)
        if result is Result.DELIVERED:
            return Reply(datetime.now(UTC), 1, result, status_code=200, response="kept")
        return Reply(datetime.now(UTC), 1, result, error="list_is_full", retry_after=self._wait)


async def test_a_channel_gets_the_delivery_and_its_reply_is_logged(database: Database) -> None:
    channel = ListChannel(Result.DELIVERED)
    async with sending_by(database, {Style.WEBHOOK: channel}):
        job = await end(database, "list://one/two")
        [delivery] = await settled(database, job.id)
    [sent], [attempt] = channel.sent, await attempts(database, delivery)
    assert (sent.transcription_id, sent.event_id, sent.url) == (job.id, delivery.event_id, "list://one/two")
    assert (sent.type, sent.signing_secrets) == ("transcription.completed", (SECRET,))
    assert abs(sent.now() - datetime.now(UTC)) < timedelta(seconds=30)
    assert SECRET not in repr(sent)
    assert (delivery.status, attempt.response) == (DeliveryStatus.DELIVERED, "kept")


async def test_a_refusal_ends_the_delivery(database: Database) -> None:
    async with sending_by(database, {Style.WEBHOOK: ListChannel(Result.REFUSED)}):
        [delivery] = await settled(database, (await end(database, "list://one")).id)
    assert (delivery.status, delivery.attempts) == (DeliveryStatus.FAILED, 1)
    assert [attempt.error for attempt in await attempts(database, delivery)] == ["list_is_full"]


async def test_a_channel_may_ask_for_a_wait(database: Database) -> None:
    async with sending_by(database, {Style.WEBHOOK: ListChannel(Result.TRY_AGAIN, wait=timedelta(hours=2))}):
        [delivery] = await tried(database, (await end(database, "list://one")).id)
    assert delivery.status == DeliveryStatus.PENDING
    assert delivery.next_attempt_at - delivery.created_at >= timedelta(hours=2)


async def test_a_channel_that_raises_counts_as_a_failed_attempt(database: Database) -> None:
    async with sending_by(database, {Style.CALLBACK: ListChannel()}):
        [delivery] = await tried(database, (await end(database, callback_urls=["list://broken"])).id)
    assert (delivery.status, delivery.attempts) == (DeliveryStatus.PENDING, 1)
    assert [attempt.error for attempt in await attempts(database, delivery)] == ["internal_error"]


async def test_a_channel_that_hangs_frees_its_place_and_counts_as_a_failed_attempt(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    class HangingChannel:
        async def send(self, delivery: Outgoing) -> Reply:
            await asyncio.Event().wait()
            raise AssertionError

    monkeypatch.setattr(sender, "LIMIT_SECONDS", 0.2)
    async with sending_by(database, {Style.WEBHOOK: HangingChannel()}):
        [delivery] = await tried(database, (await end(database, "list://one")).id)
    assert [attempt.error for attempt in await attempts(database, delivery)] == ["internal_error"]


async def test_a_process_leaves_deliveries_of_a_style_that_it_does_not_know_to_others(database: Database) -> None:
    """As during a deploy, when a newer version has written them."""
    await execute(database, "ALTER TABLE delivery DROP CONSTRAINT delivery_style")
    unknown = await end(database, "list://one")
    await execute(database, "UPDATE delivery SET style = 'stream'")
    channel = ListChannel(Result.DELIVERED)
    async with sending_by(database, {Style.CALLBACK: channel}):
        known = await end(database, callback_urls=["list://two"])
        await settled(database, known.id)
    [left] = await deliveries(database, unknown.id)
    assert (left.status, left.attempts, left.lease_token) == (DeliveryStatus.PENDING, 0, None)


async def test_a_channel_without_status_codes_can_deliver(database: Database) -> None:
    class SilentChannel:
        async def send(self, delivery: Outgoing) -> Reply:
            return Reply(datetime.now(UTC), 1, Result.DELIVERED)

    async with sending_by(database, {Style.WEBHOOK: SilentChannel()}):
        [delivery] = await settled(database, (await end(database, "list://one")).id)
    [attempt] = await attempts(database, delivery)
    assert (delivery.status, attempt.status_code, attempt.error) == (DeliveryStatus.DELIVERED, None, None)


async def test_a_reply_that_the_database_does_not_accept_counts_as_a_failed_attempt(database: Database) -> None:
    class ContradictoryChannel:
        async def send(self, delivery: Outgoing) -> Reply:
            return Reply(datetime.now(UTC), 1, Result.DELIVERED, status_code=200, error="refused")

    async with sending_by(database, {Style.WEBHOOK: ContradictoryChannel()}):
        [delivery] = await tried(database, (await end(database, "list://one")).id)
    [attempt] = await attempts(database, delivery)
    assert (delivery.status, attempt.status_code, attempt.error) == (DeliveryStatus.PENDING, None, "internal_error")


async def test_the_sender_limits_its_attempts_through_every_channel(database: Database) -> None:
    """The limit for each host belongs to the outbox, so that every channel has it."""
    go_on, busy, most_busy = asyncio.Event(), 0, 0

    class SlowChannel:
        async def send(self, delivery: Outgoing) -> Reply:
            nonlocal busy, most_busy
            busy += 1
            most_busy = max(most_busy, busy)
            await go_on.wait()
            busy -= 1
            return Reply(datetime.now(UTC), 1, Result.DELIVERED, status_code=200)

    async with sending_by(database, {Style.WEBHOOK: SlowChannel()}):
        jobs = [await end(database, "list://one") for _ in range(6)]
        async with asyncio.timeout(10):
            while busy < 4:  # noqa: ASYNC110  there is no event to wait for
                await asyncio.sleep(0.01)
        go_on.set()
        for job in jobs:
            await settled(database, job.id)
    assert most_busy == 4
