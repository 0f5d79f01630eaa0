"""The text of running jobs, from the worker to a reader, on a real database."""

import asyncio
from collections.abc import Callable
from math import inf
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError
from uuid_utils.compat import uuid7

from app.database.connections import Database
from app.errors import NotFound
from app.jobs.changes import changing
from app.jobs.claims import parts, queue
from app.jobs.claims.claiming import Claimed
from app.jobs.claims.parts import Part, TextSoFar
from app.jobs.lifecycle import Cancelled, Failed, Interrupted, Outcome, Status
from app.jobs.reads.reading import Reader
from app.jobs.topics import changed_topic
from app.jobs.worker import part_writer
from app.speech.call.final_text import FinalText
from app.transcripts.transcript import Options, Segment
from testing.job_bench import Bench, working
from testing.recordings import SAMPLE_CALL
from testing.rows import KEEP_AUDIO, SUCCESS, TESTER, claim, enqueue, execute, expire_leases, finish, take_back_lost

ALONG = Options(model="base", channels="split", reports_text=True)
HELLO = Segment(0, 0, "agent", 0.5, 1.5, "Hello.", "en")
YES = Segment(1, 1, "customer", 2.0, 2.5, "Yes?", "en")
BYE = Segment(2, 0, "agent", 7.0, 8.0, "Good bye.", "en")


async def written(database: Database) -> int:
    async with database.engine.connect() as connection:
        return int((await connection.execute(text("SELECT count(*) FROM transcript_part"))).scalar_one())


async def write(database: Database, job: Claimed, part: Part) -> bool:
    async with database.transaction() as session:
        return await parts.write(session, job, part)


async def claimed(database: Database) -> Claimed:
    """A running job that reports its text, with two parts."""
    await enqueue(database, options=ALONG)
    [job] = await claim(database)
    assert await write(database, job, Part(0, 1.8, (HELLO,)))
    assert await write(database, job, Part(1, 6.0, (YES,)))
    return job


async def read_along(bench: Bench, job_id: UUID, segments: int) -> TextSoFar:
    """Reads as a client does that waits for a number of segments."""
    reader = Reader(bench.database)
    async with asyncio.timeout(10):
        with bench.signals.subscribe(changed_topic(job_id)) as changed:
            while len((so_far := await reader.text_so_far(job_id, TESTER)).segments) < segments:
                await changed.wait()
                changed.clear()
    return so_far


async def test_a_reader_gets_what_is_new_since_its_last_question(database: Database) -> None:
    job = await claimed(database)
    reader = Reader(database)
    assert await reader.text_so_far(job.id, TESTER) == TextSoFar((HELLO, YES), 6.0)
    assert await reader.text_so_far(job.id, TESTER, 1.8) == TextSoFar((YES,), 6.0)
    assert await reader.text_so_far(job.id, TESTER, 6.0) == TextSoFar((), 6.0)
    await write(database, job, Part(2, inf, (BYE,)))
    assert await reader.text_so_far(job.id, TESTER, 6.0) == TextSoFar((BYE,), inf)


async def test_a_part_that_is_written_again_is_replaced(database: Database) -> None:
    """The reply to its COMMIT may have been lost."""
    job = await claimed(database)
    assert await write(database, job, Part(1, 9.0, (YES, BYE)))
    assert await Reader(database).text_so_far(job.id, TESTER) == TextSoFar((HELLO, YES, BYE), 9.0)


async def test_the_text_of_an_unknown_job_is_not_found(database: Database) -> None:
    with pytest.raises(NotFound):
        await Reader(database).text_so_far(uuid7(), TESTER)


async def test_a_worker_that_has_lost_its_lease_writes_nothing(database: Database) -> None:
    lost = await claimed(database)
    await expire_leases(database)
    await take_back_lost(database)
    assert await written(database) == 0
    assert not await write(database, lost, Part(2, 9.0, (BYE,)))
    [second] = await claim(database)
    assert not await write(database, lost, Part(2, 9.0, (BYE,)))
    assert await write(database, second, Part(0, 1.8, (HELLO,)))
    assert await Reader(database).text_so_far(second.id, TESTER) == TextSoFar((HELLO,), 1.8)


async def test_a_reader_who_is_ahead_of_the_second_attempt_gets_no_text_twice(database: Database) -> None:
    job = await claimed(database)
    await finish(database, job, Interrupted())
    [second] = await claim(database)
    await write(database, second, Part(0, 1.8, (HELLO,)))
    reader = Reader(database)
    assert await reader.text_so_far(job.id, TESTER, 6.0) == TextSoFar((), 6.0)
    await write(database, second, Part(1, 9.0, (YES, BYE)))
    assert await reader.text_so_far(job.id, TESTER, 6.0) == TextSoFar((BYE,), 9.0)


async def test_parts_of_an_earlier_attempt_are_not_shown(database: Database) -> None:
    """A worker of an older version removes none."""
    job = await claimed(database)
    await execute(database, "UPDATE transcription SET lease_token = gen_random_uuid()")
    assert await Reader(database).text_so_far(job.id, TESTER) == TextSoFar((), 0.0)


@pytest.mark.parametrize(
    "outcome",
    [SUCCESS, Failed("bad_media", "broken"), Cancelled(), Interrupted()],
    ids=lambda each: type(each).__name__,
)
async def test_the_end_of_an_attempt_removes_its_text(database: Database, outcome: Outcome) -> None:
    job = await claimed(database)
    await finish(database, job, outcome)
    assert await written(database) == 0
    assert await Reader(database).text_so_far(job.id, TESTER) == TextSoFar((), 0.0)


async def test_a_part_that_is_written_while_its_attempt_ends_does_not_stay(database: Database) -> None:
    job = await claimed(database)
    async with database.transaction() as session:
        assert await queue.finish(session, job, SUCCESS, KEEP_AUDIO) is not None
        late = asyncio.create_task(write(database, job, Part(2, 9.0, (BYE,))))
        await until_blocked(database)
    assert await asyncio.wait_for(late, 10) is False
    assert await written(database) == 0


async def until_blocked(database: Database) -> None:
    """Waits until a connection to the database waits for a lock."""
    blocked = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    async with asyncio.timeout(10), database.engine.connect() as connection:
        while not (await connection.execute(text(blocked))).scalar_one():
            await connection.rollback()  # a transaction sees the activity of its beginning


async def test_the_worker_writes_text_while_it_works_and_leaves_none(bench: Bench) -> None:
    bench.engine.hang = True
    bench.engine.final = [FinalText((HELLO,), 1.8), FinalText((YES,), 6.0)]
    async with working(bench):
        job_id = await bench.enqueue(SAMPLE_CALL.read_bytes(), options=ALONG)
        so_far = await read_along(bench, job_id, 2)
        bench.engine.release.set()
        job = await bench.ended(job_id)
    assert so_far == TextSoFar((HELLO, YES), 6.0)
    assert job.status == Status.COMPLETED
    assert await written(bench.database) == 0


async def test_a_job_that_does_not_ask_for_it_writes_no_text(bench: Bench) -> None:
    bench.engine.final = [FinalText((HELLO,), 1.8)]
    async with working(bench):
        await bench.ended(await bench.enqueue(SAMPLE_CALL.read_bytes()))
    assert bench.engine.reports_to == [None]


@pytest.mark.parametrize("change", [changing.erase, changing.request_cancel])
async def test_cancelling_or_deleting_a_running_job_removes_its_text(bench: Bench, change: Callable[..., Any]) -> None:
    bench.engine.hang = True
    bench.engine.final = [FinalText((HELLO,), 1.8)]
    more = () if change is changing.erase else (KEEP_AUDIO,)
    async with working(bench):
        job_id = await bench.enqueue(SAMPLE_CALL.read_bytes(), options=ALONG)
        await read_along(bench, job_id, 1)
        async with bench.database.transaction() as session:
            await change(session, job_id, TESTER, *more)
        await asyncio.wait_for(bench.runner.idle(), 10)
    assert await written(bench.database) == 0


async def test_what_could_not_be_written_is_written_with_the_next_part(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(part_writer, "PAUSE_SECONDS", 0.05)
    write_part, refused = parts.write, list[int]()

    async def refuse_twice(session: Any, job: Claimed, part: Part) -> bool:
        if len(refused) < 2:
            refused.append(part.number)
            raise OperationalError("INSERT", {}, Exception("away"))
        return await write_part(session, job, part)

    monkeypatch.setattr(parts, "write", refuse_twice)
    bench.engine.hang = True
    bench.engine.final = [FinalText((HELLO,), 1.8), FinalText((YES,), 6.0)]
    async with working(bench):
        job_id = await bench.enqueue(SAMPLE_CALL.read_bytes(), options=ALONG)
        so_far = await read_along(bench, job_id, 2)
        bench.engine.release.set()
        job = await bench.ended(job_id)
    assert refused == [0, 0]
    assert so_far == TextSoFar((HELLO, YES), 6.0)
    assert job.status == Status.COMPLETED
