"""Events as entries of a stream: a real Redis server, which is away, refuses, or hangs."""

import json
from collections.abc import AsyncIterator, Iterator
from functools import partial

import pytest

from app.database.connections import Database
from app.deliveries import outputs_of_events
from app.deliveries.channels import Result
from app.deliveries.models import DeliveryStatus, Style
from app.deliveries.notify_status import NotifyStatus
from app.deliveries.stream import StreamChannel
from app.deliveries.stream_url import stream_of, stream_url
from app.jobs.changes import changing
from app.jobs.claims import queue
from app.jobs.claims.ending import AtEnd
from app.jobs.events import event_of
from app.jobs.lifecycle import Outcome
from app.jobs.models import Transcription
from app.jobs.reads.reading import Reader
from app.network.redis_address import parse_redis_address
from app.network.redis_server import RedisServer
from testing.redis_server import RedisProcess, redis_serving
from testing.rows import SUCCESS, TESTER, claim, enqueue, execute
from testing.waiting import soon
from tests.deliveries.conftest import attempts, sending_by, settled, tried
from tests.deliveries.test_channels import ListChannel

RESULTS = "callscribe:results"
SECRET = "geheim"


@pytest.fixture
def redis() -> Iterator[RedisProcess]:
    with redis_serving(password=SECRET) as redis:
        yield redis


@pytest.fixture
async def server(redis: RedisProcess) -> AsyncIterator[RedisServer]:
    server = RedisServer(parse_redis_address(redis.url), connect_seconds=0.5, answer_seconds=0.5)
    yield server
    await server.close()


async def ended(database: Database, *webhooks: str, outcome: Outcome = SUCCESS) -> Transcription:
    """A job that has just ended in a process with a stream for results."""
    job = await enqueue(database, webhook_urls=list(webhooks))
    [claimed] = await claim(database)
    async with database.transaction() as session:
        await queue.finish(session, claimed, outcome, AtEnd(partial(event_of, stream=RESULTS), forget_audio=False))
    return job


async def test_an_entry_has_the_bytes_of_the_webhook_and_its_id(
    database: Database, redis: RedisProcess, server: RedisServer
) -> None:
    webhook = ListChannel(Result.DELIVERED)
    async with sending_by(database, {Style.WEBHOOK: webhook, Style.STREAM: StreamChannel(server, 1000)}):
        job = await ended(database, "list://one")
        delivered = await settled(database, job.id)
    [sent], [entry] = webhook.sent, redis.entries(RESULTS)
    assert entry == {"id": str(sent.event_id), "type": "transcription.completed", "body": sent.body.decode()}
    assert json.loads(entry["body"])["data"]["id"] == str(job.id)
    [to_stream] = [one for one in delivered if one.style == Style.STREAM]
    [attempt] = await attempts(database, to_stream)
    [entry_id] = [entry_id for entry_id, _ in redis.client.xrange(RESULTS)]
    assert (attempt.response, attempt.error, to_stream.url) == (f"entry {entry_id}", None, f"redis-stream:{RESULTS}")
    shown = (await Reader(database).read(job.id, TESTER)).shown("")
    assert shown.notify_status == NotifyStatus.NOTIFIED


async def test_a_delivery_can_be_repeated_and_keeps_its_id(
    database: Database, redis: RedisProcess, server: RedisServer
) -> None:
    async with sending_by(database, {Style.STREAM: StreamChannel(server, 1000)}):
        [delivery] = await settled(database, (job := await ended(database)).id)
        async with database.transaction() as session:
            await changing.redeliver(session, delivery.id, TESTER)
        await settled(database, job.id)
    first, second = redis.entries(RESULTS)
    assert first == second


async def test_the_stream_keeps_about_as_many_entries_as_it_should(redis: RedisProcess, server: RedisServer) -> None:
    for _ in range(300):
        await server.command("XADD", RESULTS, "*", "id", "old")
    await server.command("XADD", RESULTS, "MAXLEN", "~", 100, "*", "id", "new")
    assert redis.client.xlen(RESULTS) < 300


async def test_an_event_waits_while_the_server_is_away_and_shows_no_secret(
    database: Database, redis: RedisProcess, server: RedisServer
) -> None:
    redis.kill()
    webhook = ListChannel(Result.DELIVERED)
    async with sending_by(database, {Style.WEBHOOK: webhook, Style.STREAM: StreamChannel(server, 1000)}):
        job = await ended(database, "list://one")
        await tried(database, job.id)
        await execute(database, "UPDATE delivery SET next_attempt_at = now() WHERE status = 'pending'")
        found = await tried(database, job.id, times=1)
        [waiting] = [one for one in found if one.style == Style.STREAM]
        log = await attempts(database, waiting)
        assert (waiting.status, {one.error for one in log}) == (DeliveryStatus.PENDING, {"connection_failed"})
        assert SECRET not in "".join(one.response or "" for one in log) + waiting.url + waiting.host
        assert len(webhook.sent) == 1
        redis.start()
        await execute(database, "UPDATE delivery SET next_attempt_at = now() WHERE status = 'pending'")
        await settled(database, job.id)
    assert len(redis.entries(RESULTS)) == 1


async def test_a_stream_that_is_no_stream_is_tried_again_and_readiness_can_know(
    database: Database, redis: RedisProcess, server: RedisServer
) -> None:
    redis.client.set(RESULTS, "text")
    async with sending_by(database, {Style.STREAM: StreamChannel(server, 1000)}):
        job = await ended(database)
        [delivery] = await tried(database, job.id)
        await execute(database, "UPDATE delivery SET next_attempt_at = now()")
        [delivery] = await tried(database, job.id, times=2)
    log = await attempts(database, delivery)
    assert {one.error for one in log} == {"redis_refused"}
    assert "WRONGTYPE" in (log[0].response or "")
    async with database.transaction() as session:
        assert await outputs_of_events.troubled_styles(session) == [Style.STREAM]


async def test_a_server_that_hangs_delays_no_webhook(
    database: Database, redis: RedisProcess, server: RedisServer
) -> None:
    redis.freeze()
    webhook = ListChannel(*[Result.DELIVERED] * 8)
    async with sending_by(database, {Style.WEBHOOK: webhook, Style.STREAM: StreamChannel(server, 1000)}):
        for _ in range(8):
            await ended(database, "list://one")
        await soon(lambda: len(webhook.sent) == 8)
    redis.thaw()


def test_the_url_of_a_delivery_is_the_name_of_the_stream() -> None:
    assert stream_of(stream_url(RESULTS)) == RESULTS
