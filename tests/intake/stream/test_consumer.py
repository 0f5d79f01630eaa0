"""Entries of a real Redis server become jobs in a real database, whatever is away in between."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import col, select
from structlog.testing import capture_logs

from app.database.connections import Database
from app.deliveries.outputs import Outputs
from app.deliveries.receivers import Receivers
from app.intake.ask import Accepted
from app.intake.intake import Intake, Limits
from app.intake.model_names import ModelNames
from app.intake.stream.consumer import MOST_DELIVERIES, STREAM, StreamConsumer
from app.intake.stream.group import ConsumerGroup
from app.jobs.changes.queue_limit import QueueLimit
from app.jobs.models import Transcription
from app.network.guard import NetworkGuard
from app.network.redis_address import parse_redis_address
from app.network.redis_server import RedisServer
from app.network.redis_trouble import RedisTrouble
from app.sources.fetch import Fetcher
from app.sources.web import WebSource
from app.storage.disk import FreeSpace
from app.storage.folder_store import LocalAudioStore
from testing.redis_server import DURABLE, RedisProcess, redis_serving
from testing.rows import execute
from testing.waiting import soon, until

REQUESTS, REJECTED = "callscribe:requests", "callscribe:rejected"
URL = "https://127.0.0.1/call.wav"
IDLE_SECONDS = 0.2
PAUSES = (0.02, 0.05)


class PoisonedIntake(Intake):
    """It raises for one entry what no code expects."""

    async def accept(self, recording: Any, ask: Any, *arguments: Any, **options: Any) -> Accepted:
        if ask.external_id == "poison":
            raise RuntimeError("a fault of the service")
        return await super().accept(recording, ask, *arguments, **options)


@pytest.fixture(autouse=True)
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.intake.stream.consumer.LOOK_SECONDS", 0.05)
    monkeypatch.setattr("app.intake.stream.consumer.WAIT_MILLISECONDS", 20)


@pytest.fixture
def open_intake(tmp_path: Path) -> Callable[..., Intake]:
    store = LocalAudioStore(tmp_path / "audio")

    def intake(database: Database, pending: int = 100, kind: type[Intake] = Intake) -> Intake:
        guard, free_space = NetworkGuard([ip_network("127.0.0.0/8")]), FreeSpace((store.folder,), 0)
        fetcher = Fetcher({"https": WebSource(guard)}, store, free_space, max_bytes=100_000)
        limits = Limits(100_000, 60, QueueLimit(pending))
        return kind(database, store, fetcher, ModelNames(["base"]), Receivers(guard), Outputs(), free_space, limits)

    return intake


@asynccontextmanager
async def a_group(redis: RedisProcess, name: str = "one", idle_seconds: float = IDLE_SECONDS) -> AsyncIterator[Any]:
    server = RedisServer(parse_redis_address(redis.url), answer_seconds=3)
    yield ConsumerGroup(server, REQUESTS, name, idle_seconds=idle_seconds)
    await server.close()


@asynccontextmanager
async def consuming(
    redis: RedisProcess, intake: Intake, name: str = "one", idle_seconds: float = IDLE_SECONDS
) -> AsyncIterator[StreamConsumer]:
    """A consumer that runs until the end of the block, and is drained then."""
    async with a_group(redis, name, idle_seconds) as group:
        consumer = StreamConsumer(group, intake, pauses_seconds=PAUSES)
        task = asyncio.create_task(consumer.run())
        try:
            yield consumer
        finally:
            await consumer.drain(5)
            await asyncio.wait_for(task, 10)


async def jobs(database: Database) -> Sequence[Transcription]:
    async with database.transaction() as session:
        return (await session.exec(select(Transcription).order_by(col(Transcription.id)))).all()


async def becomes(database: Database, count: int) -> Sequence[Transcription]:
    async def there_are() -> bool:
        return len(await jobs(database)) >= count

    await until(there_are)
    return await jobs(database)


async def test_an_entry_becomes_a_job_and_is_acknowledged(
    database: Database, redis: RedisProcess, open_intake: Callable[..., Intake]
) -> None:
    first = redis.add(url=URL, external_id="call 1", file_name="呼叫 1.wav")  # before the group exists
    async with consuming(redis, open_intake(database)):
        await becomes(database, 1)
        second = redis.add(request=json.dumps({"url": URL, "language": "en"}))
        await becomes(database, 2)
        await soon(redis.is_settled)
    one, two = await jobs(database)
    assert (one.caller, one.idempotency_key) == (STREAM.name, f"{REQUESTS}:{first}")
    assert (one.external_id, one.filename, one.source) == ("call 1", "呼叫 1.wav", URL)
    assert (two.idempotency_key, two.filename) == (f"{REQUESTS}:{second}", "call.wav")
    assert redis.client.xinfo_consumers(REQUESTS, "callscribe") == []  # it has left
    assert redis.entries(REJECTED) == []


async def test_an_invalid_entry_is_refused_once_and_holds_nothing_back(
    database: Database, redis: RedisProcess, open_intake: Callable[..., Intake]
) -> None:
    refused = [redis.add(url=URL, language="nowhere"), redis.add(url="https://10.0.0.1/call.wav"), redis.add(a="b")]
    redis.add(url=URL)
    async with consuming(redis, open_intake(database)):
        await becomes(database, 1)
        await soon(redis.is_settled)
    written = redis.entries(REJECTED)
    assert [fields["entry"] for fields in written] == refused
    assert [fields["code"] for fields in written] == ["invalid_request", "url_not_allowed", "invalid_request"]
    assert json.loads(written[0]["problem"])["errors"][0]["field"] == "language"


async def test_an_entry_that_another_consumer_has_refused_is_not_refused_again(
    redis: RedisProcess,
) -> None:
    entry_id = redis.add(a="b")
    async with a_group(redis) as group:
        await group.ensure()
        await group.ensure()
        [delivered] = await group.read_new(10, 100)
        await group.reject(delivered.entry, [("entry", entry_id)])
        await group.reject(delivered.entry, [("entry", entry_id)])
    assert redis.entries(REJECTED) == [{"entry": entry_id}]


async def test_what_a_dead_consumer_has_left_is_taken_over_and_becomes_one_job(
    database: Database, redis: RedisProcess, open_intake: Callable[..., Intake]
) -> None:
    for number in range(3):
        redis.add(url=URL, external_id=str(number))
    async with a_group(redis, "dead") as dead:
        await dead.ensure()
        left = await dead.read_new(10, 100)
    intake = open_intake(database)
    consumer = StreamConsumer(dead, intake)
    assert await consumer._accept(left[0].entry) is None  # it died before it acknowledged its first entry
    async with consuming(redis, intake):
        await soon(redis.is_settled)
    assert [job.external_id for job in await jobs(database)] == ["0", "1", "2"]


async def test_a_full_queue_makes_the_stream_wait_and_counts_no_deliveries(
    database: Database, redis: RedisProcess, open_intake: Callable[..., Intake]
) -> None:
    for number in range(3):
        redis.add(url=URL, external_id=str(number))
    with capture_logs() as logs:
        async with consuming(redis, open_intake(database, pending=1), idle_seconds=60):
            await becomes(database, 1)
            await soon(lambda: any(line["event"] == "an entry waits" for line in logs))
        waiting = redis.client.xpending_range(REQUESTS, "callscribe", "-", "+", 10)
        assert [one["times_delivered"] for one in waiting] == [0, 0]
        async with consuming(redis, open_intake(database, pending=1), "two", idle_seconds=60):  # takes over at once
            await execute(database, "UPDATE transcription SET status = 'failed', completed_at = now()")
            await becomes(database, 2)
            await execute(database, "UPDATE transcription SET status = 'failed', completed_at = now()")
            await becomes(database, 3)
            await soon(redis.is_settled)
    assert [job.external_id for job in await jobs(database)] == ["0", "1", "2"]
    assert redis.entries(REJECTED) == []


async def test_entries_wait_while_the_database_is_away(
    database: Database, redis: RedisProcess, open_intake: Callable[..., Intake]
) -> None:
    redis.add(url=URL)
    away = Database("postgresql://127.0.0.1:1/nowhere")
    with capture_logs() as logs:
        async with consuming(redis, open_intake(away)):
            await soon(lambda: any("database is in trouble" in str(line.get("reason")) for line in logs))
            assert redis.pending() == 1
        await away.close()
        async with consuming(redis, open_intake(database), "two"):
            await becomes(database, 1)
            await soon(redis.is_settled)
    assert redis.entries(REJECTED) == []


async def test_a_poisonous_entry_is_refused_at_last_and_holds_nothing_back(
    database: Database, redis: RedisProcess, open_intake: Callable[..., Intake]
) -> None:
    poison = redis.add(url=URL, external_id="poison")
    redis.add(url=URL, external_id="good")
    with capture_logs() as logs:
        async with consuming(redis, open_intake(database, kind=PoisonedIntake), idle_seconds=0.02):
            await becomes(database, 1)
            await soon(redis.is_settled)
    [refused] = redis.entries(REJECTED)
    assert (refused["entry"], refused["code"]) == (poison, "internal_error")
    assert sum(line["log_level"] == "error" for line in logs) == MOST_DELIVERIES
    assert [job.external_id for job in await jobs(database)] == ["good"]


async def test_an_entry_that_is_a_job_is_never_given_up(
    database: Database, redis: RedisProcess, open_intake: Callable[..., Intake]
) -> None:
    entry_id = redis.add(url=URL)
    intake = open_intake(database)
    async with a_group(redis, "dead") as dead:
        await dead.ensure()
        [left] = await dead.read_new(10, 100)
        assert await StreamConsumer(dead, intake)._accept(left.entry) is None
    count = ("IDLE", 10_000, "RETRYCOUNT", MOST_DELIVERIES)
    redis.client.execute_command("XCLAIM", REQUESTS, "callscribe", "dead", 0, entry_id, *count)
    async with consuming(redis, intake):
        await soon(redis.is_settled)
    assert redis.entries(REJECTED) == []


async def test_the_group_is_made_again_after_the_server_has_lost_everything(
    database: Database, redis: RedisProcess, open_intake: Callable[..., Intake]
) -> None:
    async with consuming(redis, open_intake(database)):
        redis.add(url=URL, external_id="1")
        await becomes(database, 1)
        redis.client.flushall()
        redis.add(url=URL, external_id="2")
        await becomes(database, 2)
        redis.client.xgroup_destroy(REQUESTS, "callscribe")
        redis.add(url=URL, external_id="3")
        await becomes(database, 3)
        await soon(redis.is_settled)
    assert [job.external_id for job in await jobs(database)] == ["1", "2", "3"]  # 2 was found as a job again


async def test_entries_of_a_server_that_was_killed_become_jobs(
    database: Database, open_intake: Callable[..., Intake]
) -> None:
    with redis_serving(*DURABLE) as redis, capture_logs() as logs:
        async with consuming(redis, open_intake(database)):
            redis.add(url=URL, external_id="1")
            await becomes(database, 1)
            redis.kill()
            await soon(lambda: any(line["event"] == "Redis cannot be used" for line in logs))
            redis.start()
            redis.add(url=URL, external_id="2")
            await becomes(database, 2)
            await soon(redis.is_settled)
    assert [job.external_id for job in await jobs(database)] == ["1", "2"]


async def test_a_consumer_stops_in_time_although_the_server_does_not_answer(
    database: Database, redis: RedisProcess, open_intake: Callable[..., Intake]
) -> None:
    async with a_group(redis) as group:
        consumer = StreamConsumer(group, open_intake(database), pauses_seconds=PAUSES)
        task = asyncio.create_task(consumer.run())
        redis.add(url=URL)
        await becomes(database, 1)
        redis.freeze()
        await consumer.drain(0.1)
        await asyncio.wait_for(task, 2)
        redis.thaw()


async def test_consumers_of_processes_that_have_died_are_removed_once_they_have_no_entries(
    redis: RedisProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    redis.add(url=URL)
    async with a_group(redis, "busy") as busy, a_group(redis, "living") as living:
        await busy.ensure()
        [delivered] = await busy.read_new(10, 100)
        redis.client.xgroup_createconsumer(REQUESTS, "callscribe", "idle")
        await living.remove_dead()
        assert _names(redis) == {"busy", "idle"}  # they may still live
        monkeypatch.setattr("app.intake.stream.group.DEAD_SECONDS", -1)
        await living.remove_dead()
        await busy.leave()
        assert _names(redis) == {"busy"}  # its entry has to be taken over first
        await busy.acknowledge(delivered.entry)
        await living.remove_dead()
    assert _names(redis) == set()


def _names(redis: RedisProcess) -> set[str]:
    return {consumer["name"] for consumer in redis.client.xinfo_consumers(REQUESTS, "callscribe")}


async def test_refused_commands_name_the_command_and_no_content(redis: RedisProcess) -> None:
    redis.client.set(REQUESTS, "not a stream")
    async with a_group(redis) as group:
        with pytest.raises(RedisTrouble, match=r"^it refuses XGROUP: WRONGTYPE") as trouble:
            await group.ensure()
    assert trouble.value.word == "redis_refused"
