"""The outbox on a real database: one event for each job that ended, leases, the limit for each host, redelivery."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import jsonschema_rs
import pytest
from sqlalchemy import func
from sqlmodel import col, select, update

from app.database.connections import Database
from app.deliveries import outbox
from app.deliveries.channels import Reply
from app.deliveries.http import judge
from app.deliveries.models import Delivery, DeliveryAttempt, DeliveryStatus, Event, Style
from app.deliveries.outbox import Leased
from app.errors import NotFound
from app.jobs import events
from app.jobs.changes import changing
from app.jobs.claims import ending, queue
from app.jobs.claims.capacity import Capacity
from app.jobs.lifecycle import MAX_CRASHES, Cancelled, Failed, Interrupted, Outcome, Status
from app.jobs.models import Transcription
from testing.routes import openapi_document
from testing.rows import KEEP_AUDIO, OPTIONS, SUCCESS, TESTER, enqueue, expire_leases, take_back_lost
from tests.deliveries.conftest import deliveries, end

URL = "https://crm.example/hook"
DOCUMENT = openapi_document()


async def claim(database: Database, slots: int = 10) -> list[Leased]:
    async with database.transaction() as session:
        return await outbox.claim_due(session, slots, tuple(Style))


async def record(database: Database, leased: Leased, status_code: int) -> Delivery | None:
    async with database.transaction() as session:
        result, wait = judge(httpx.Response(status_code), datetime.now(UTC))
        return await outbox.record(session, leased, Reply(datetime.now(UTC), 5, result, status_code, retry_after=wait))


async def notify_status(database: Database, job: Transcription) -> str:
    async with database.transaction() as session:
        found = await outbox.notify_states(session, [job.id])
    return str(found[job.id].status) if job.id in found else "no deliveries"


async def expire_delivery_leases(database: Database) -> None:
    async with database.transaction() as session:
        leased = update(Delivery).where(col(Delivery.lease_token).is_not(None))
        await session.exec(leased.values(lease_until=func.now() - timedelta(seconds=1)))


async def rows(database: Database, table: type[Any]) -> list[Any]:
    async with database.transaction() as session:
        return list((await session.exec(select(table))).all())


@pytest.mark.parametrize(
    ("outcome", "event"),
    [
        (SUCCESS, "transcription.completed"),
        (Failed("bad_media", "broken"), "transcription.failed"),
        (Cancelled(), "transcription.cancelled"),
        (Interrupted(), None),
        (Failed("transcription_failed", "", transient=True), None),
    ],
)
async def test_an_event_is_written_with_a_final_status_only(
    database: Database, outcome: Outcome, event: str | None
) -> None:
    await end(database, URL, outcome=outcome)
    assert [row.type for row in await rows(database, Event)] == ([event] if event else [])


async def test_a_job_cancelled_while_it_waited_and_a_job_that_crashed_too_often_have_events(database: Database) -> None:
    waiting = await enqueue(database, webhook_urls=[URL])
    async with database.transaction() as session:
        await changing.request_cancel(session, waiting.id, TESTER, KEEP_AUDIO)
    lost = await enqueue(database, webhook_urls=[URL])
    for _ in range(MAX_CRASHES):
        async with database.transaction() as session:
            await queue.claim(session, "worker", Capacity(1))
        await expire_leases(database)
        await take_back_lost(database)
    written = {row.transcription_id: row.type for row in await rows(database, Event)}
    assert written == {waiting.id: "transcription.cancelled", lost.id: "transcription.failed"}


async def test_a_rolled_back_end_writes_no_event(database: Database) -> None:
    job = await enqueue(database, webhook_urls=[URL])
    async with database.transaction() as session:
        await changing.request_cancel(session, job.id, TESTER, KEEP_AUDIO)
        await session.rollback()
    assert await rows(database, Event) == []


async def test_the_body_keeps_the_documented_schema_and_size(database: Database) -> None:
    long = OPTIONS | {"prompt": "\x01" * 2000, "hotwords": ["語" * 100] * 100}
    wide = {"webhook_urls": [URL], "metadata": {"k": "v" * 4000}, "external_id": "\x01" * 255, "filename": "語" * 255}
    async with database.transaction() as session:
        at = await ending.now(session)
    for options in (OPTIONS, long):
        job = await enqueue(database, **wide)
        job.options, job.status, job.completed_at = options, Status.COMPLETED, at
        job.warnings = [{"code": "w", "message": "m" * 300}] * 200
        event = events.event_of(job)
        assert event is not None
        body = event.body
        assert len(body) < 20_000
        schema = {"$ref": "#/components/schemas/TranscriptionEvent", "components": DOCUMENT["components"]}
        jsonschema_rs.validate(schema, json.loads(body))
        assert b"event_shortened" in body


async def test_a_sender_that_lost_its_lease_changes_nothing(database: Database) -> None:
    await end(database, URL)
    [stale] = await claim(database)
    await expire_delivery_leases(database)
    [current] = await claim(database)
    assert (current.id, current.event_id, current.body) == (stale.id, stale.event_id, stale.body)
    assert await record(database, stale, 200) is None
    assert await rows(database, DeliveryAttempt) == []
    assert (await record(database, current, 200)) is not None


async def test_concurrent_claims_keep_the_limit_of_a_host_and_never_claim_the_same_delivery(database: Database) -> None:
    for _ in range(6):
        await end(database, URL, "https://other.example/")
    claimed = [one for many in await asyncio.gather(*(claim(database, 3) for _ in range(6))) for one in many]
    assert len({one.id for one in claimed}) == len(claimed)
    hosts = [one.host for one in claimed]
    assert {host: hosts.count(host) for host in hosts} == {"crm.example:443": 4, "other.example:443": 4}


async def test_each_host_gets_its_first_attempt_before_any_gets_its_second(database: Database) -> None:
    for _ in range(5):
        await end(database, URL)
    for name in ("a", "z"):
        await end(database, f"https://{name}.example:8443/")
    assert {one.host for one in await claim(database, 3)} == {
        "crm.example:443", "a.example:8443", "z.example:8443"
    }  # fmt: skip


async def test_the_notify_status_follows_the_deliveries(database: Database) -> None:
    assert await notify_status(database, await end(database)) == "no deliveries"
    job = await end(database, URL, "https://other.example/")
    assert await notify_status(database, job) == "not_notified"
    first, second = await claim(database)
    assert await notify_status(database, job) == "notifying"
    await record(database, first, 200)
    assert await notify_status(database, job) == "notifying"
    await record(database, second, 410)
    assert await notify_status(database, job) == "notification_failed"
    async with database.transaction() as session:
        await changing.redeliver(session, second.id, TESTER)
    assert await notify_status(database, job) == "notifying"
    [again] = await claim(database)
    last = await record(database, again, 204)
    assert await notify_status(database, job) == "notified"
    async with database.transaction() as session:
        assert last is not None
        assert (await outbox.notify_states(session, [job.id]))[job.id].notified_at == last.finished_at


async def test_redelivery_starts_the_schedule_again_with_the_same_event(database: Database) -> None:
    job = await end(database, URL)
    [first] = await claim(database)
    await record(database, first, 200)
    async with database.transaction() as session:
        await changing.redeliver(session, first.id, TESTER)
    [second] = await claim(database)
    assert (second.event_id, second.body) == (first.event_id, first.body)
    await record(database, second, 500)
    [delivery] = await deliveries(database, job.id)
    assert (delivery.status, delivery.attempts, delivery.tries) == (DeliveryStatus.PENDING, 2, 1)
    async with database.transaction() as session:
        with pytest.raises(NotFound):
            await changing.redeliver(session, job.id, TESTER)


async def test_erasing_a_transcription_leaves_nothing_of_its_events(database: Database) -> None:
    job = await end(database, URL)
    [leased] = await claim(database)
    await record(database, leased, 500)
    async with database.transaction() as session:
        await changing.erase(session, job.id, TESTER)
    for table in (Event, Delivery, DeliveryAttempt):
        assert await rows(database, table) == []


async def test_the_log_of_a_delivery_keeps_the_last_attempts(database: Database) -> None:
    await end(database, URL)
    for _ in range(outbox.KEPT_ATTEMPTS + 2):
        [leased] = await claim(database)
        await record(database, leased, 500)
        async with database.transaction() as session:
            await changing.redeliver(session, leased.id, TESTER)
    assert len(await rows(database, DeliveryAttempt)) == outbox.KEPT_ATTEMPTS
