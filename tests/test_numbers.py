"""What the database says in the metrics: the jobs, the queue and the deliveries."""

import asyncio
from contextlib import suppress
from pathlib import Path

from app import metrics
from app.access.callers import Caller
from app.database.connections import Database
from app.deliveries.lateness import oldest_overdue_seconds
from app.jobs.claims import queue
from app.jobs.lifecycle import Failed
from app.jobs.reads.numbers import COUNTED, QueueNumbers, queue_numbers
from app.numbers import Numbers
from app.storage.disk import FreeSpace
from testing.rows import (
    KEEP_AUDIO,
    SUCCESS,
    claim,
    enqueue,
    execute,
    expire_leases,
    fill,
    finish,
    take_back_lost,
)

BOB = Caller("bob")


async def found(database: Database) -> QueueNumbers:
    async with database.transaction() as session:
        return await queue_numbers(session)


async def overdue(database: Database) -> float:
    async with database.transaction() as session:
        return await oldest_overdue_seconds(session)


def counted(name: str) -> float:
    """The sum of a counter of this process, over all its labels."""
    body, _ = metrics.exposition(metrics.Reading(), "")
    found = [line for line in body.decode().splitlines() if line.startswith(f"callscribe_{name}")]
    return sum(float(line.rpartition(" ")[2]) for line in found)


async def test_an_empty_database_has_no_queue(database: Database) -> None:
    numbers = await found(database)
    assert numbers.jobs == dict.fromkeys(("pending", "in_progress", "completed", "failed", "cancelled"), 0)
    assert (numbers.audio_seconds, numbers.oldest_seconds, await overdue(database)) == (0.0, 0.0, 0.0)


async def test_jobs_are_counted_by_status(database: Database) -> None:
    for _ in range(4):
        await enqueue(database)
    completed, failed, _ = await claim(database, 3)
    await finish(database, completed, SUCCESS)
    await finish(database, failed, Failed("bad_media", "It is broken."))
    assert (await found(database)).jobs == {
        "pending": 1,
        "in_progress": 1,
        "completed": 1,
        "failed": 1,
        "cancelled": 0,
    }


async def test_the_queue_is_as_long_as_the_audio_that_waits_and_the_rest_of_what_runs(database: Database) -> None:
    running = await enqueue(database, duration=100.0)
    await claim(database)
    await execute(database, "UPDATE transcription SET progress = 0.25 WHERE id = :id", id=running.id)
    await enqueue(database, duration=60.0)
    await enqueue(database, audio_key=None, source="https://example.com/call.wav")  # of unknown length
    later = await enqueue(database, duration=1000.0)
    await execute(database, "UPDATE transcription SET run_at = now() + interval '1 hour' WHERE id = :id", id=later.id)
    assert (await found(database)).audio_seconds == 75 + 60 + 180


async def test_the_oldest_job_is_found_behind_more_urgent_ones_of_other_keys(database: Database) -> None:
    await enqueue(database, priority=0)
    old = await enqueue(database, priority=9, caller=BOB.label)
    await enqueue(database, priority=9, caller=BOB.label)
    await execute(database, "UPDATE transcription SET run_at = now() - interval '90 s' WHERE id = :id", id=old.id)
    assert 90 <= (await found(database)).oldest_seconds < 120


async def test_a_long_queue_is_estimated(database: Database) -> None:
    waiting = 2 * COUNTED
    await fill(database, waiting, 20)
    numbers = await found(database)
    assert abs(numbers.jobs["pending"] - waiting) <= waiting / 20
    assert numbers.audio_seconds == numbers.jobs["pending"] * 180


async def test_a_delivery_is_overdue_from_the_time_of_its_next_attempt(database: Database) -> None:
    for url, seconds in (("https://a.example/", 3600.0), ("https://b.example/", -50.0)):
        await enqueue(database, webhook_urls=[url])
        [job] = await claim(database)
        await finish(database, job, SUCCESS)
        due = "UPDATE delivery SET next_attempt_at = now() + interval '1 s' * :seconds WHERE url = :url"
        await execute(database, due, seconds=seconds, url=url)
    assert 50 <= await overdue(database) < 80


async def test_an_end_is_counted_when_it_is_committed(database: Database) -> None:
    await enqueue(database)
    [job] = await claim(database)
    completed = 'jobs_ended_total{code="",status="completed"}'
    before, audio = counted(completed), counted("audio_seconds_total")
    with suppress(ConnectionError):
        async with database.transaction() as session:
            assert await queue.finish(session, job, SUCCESS, KEEP_AUDIO)
            raise ConnectionError
    assert counted(completed) == before
    await finish(database, job, SUCCESS)
    await finish(database, job, SUCCESS)  # its lease is gone
    assert (counted(completed), counted("audio_seconds_total")) == (before + 1, audio + 1.0)


async def test_a_lost_lease_is_counted_by_the_process_that_takes_the_job_back(database: Database) -> None:
    await enqueue(database)
    await claim(database)
    before = counted("leases_lost_total")
    await expire_leases(database)
    await take_back_lost(database)
    await take_back_lost(database)
    assert counted("leases_lost_total") == before + 1


async def test_the_database_is_asked_once_in_some_seconds(database: Database, tmp_path: Path) -> None:
    numbers = Numbers(database, FreeSpace([tmp_path], 0))
    await asyncio.gather(*(numbers.text("") for _ in range(5)))
    await enqueue(database)
    body, _ = await numbers.text("")
    assert b'callscribe_jobs{status="pending"} 0.0\n' in body
    fresh, _ = await Numbers(database, FreeSpace([tmp_path], 0)).text("")
    assert b'callscribe_jobs{status="pending"} 1.0\n' in fresh


async def test_without_a_database_and_a_disk_the_counters_remain(database: Database, tmp_path: Path) -> None:
    await execute(database, "ALTER TABLE transcription RENAME TO gone")
    body, _ = await Numbers(database, FreeSpace([tmp_path / "gone"], 0)).text("")
    assert b"callscribe_build_info" in body
    assert not [name for name in (b"callscribe_jobs{", b"callscribe_queue", b"callscribe_disk") if name in body]
