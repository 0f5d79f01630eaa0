"""Calls of older versions become searchable, and the indexes of the list are made beside other work."""

import asyncio

import pytest

from alembic import command
from app.access.callers import Caller
from app.database.connections import Database, alembic_config
from app.jobs.reads.listing import Wanted
from app.jobs.reads.reading import Reader
from app.jobs.upkeep.late_indexes import NAMES, REPLACED, make_missing
from app.jobs.upkeep.search_filling import SearchFilling
from app.search.query import parse
from testing.rows import TESTER, execute, fill, read
from testing.said import ids, said


async def found(database: Database, query: str, caller: Caller = TESTER) -> list[str]:
    page = await Reader(database).page(Wanted(query=parse(query)), caller)
    return [str(item.job.id) for item in page.items]


async def forget(database: Database) -> None:
    """Does as if an older version had completed the calls."""
    await execute(database, "DELETE FROM transcript_search")
    await execute(database, "UPDATE transcription SET speakers = NULL")


async def test_calls_of_an_older_version_are_filled_and_those_that_it_completes_later(database: Database) -> None:
    first = await said(database, "Good morning.", "Hello.")
    second = await said(database, "Good evening.", "Hello.", caller="acme:crm")
    await forget(database)
    filling = SearchFilling(database, pause_seconds=0)
    assert await found(database, "good") == []
    await filling.sweep()
    assert await found(database, "good") == ids([first])
    assert await found(database, "good", Caller("crm", "acme")) == ids([second])
    assert (await read(database, first.id)).speakers == first.speakers
    await forget(database)
    await filling.sweep()
    assert await found(database, "hello") == ids([first])


async def test_a_transcript_that_cannot_be_read_hinders_no_other(database: Database) -> None:
    broken = await said(database, "Good morning.")
    whole = await said(database, "Good morning.")
    await execute(database, "UPDATE transcript SET transcript = '{' WHERE transcription_id = :id", id=broken.id)
    await forget(database)
    await SearchFilling(database, pause_seconds=0).sweep()
    assert await found(database, "good") == ids([whole])
    assert (await read(database, broken.id)).speakers is None


async def test_two_processes_fill_the_same_calls_once(database: Database) -> None:
    calls = [await said(database, "Good morning.") for _ in range(3)]
    await forget(database)
    both = [SearchFilling(database, pause_seconds=0) for _ in range(2)]
    await asyncio.gather(*(filling.sweep() for filling in both))
    await asyncio.gather(*(filling.sweep() for filling in both))
    assert await found(database, "morning") == ids(calls[::-1])


async def test_an_erased_call_has_no_words_left(database: Database) -> None:
    call = await said(database, "Good morning.")
    await execute(database, "DELETE FROM transcription WHERE id = :id", id=call.id)
    async with database.engine.connect() as connection:
        words = await connection.exec_driver_sql("SELECT count(*) FROM transcript_search")
        assert words.scalar_one() == 0


async def indexes(database: Database) -> set[str]:
    async with database.engine.connect() as connection:
        return set((await connection.exec_driver_sql("SELECT indexname FROM pg_indexes")).scalars())


@pytest.mark.slow
async def test_the_indexes_of_a_large_table_are_made_beside_other_work(database: Database) -> None:
    await asyncio.to_thread(command.downgrade, alembic_config(database.address), "20261211")
    await fill(database, 50_001, 3)
    await asyncio.to_thread(command.upgrade, alembic_config(database.address), "head")
    assert set(REPLACED) < await indexes(database)
    assert (await indexes(database)).isdisjoint(NAMES)
    assert await make_missing(database)
    assert set(NAMES) < await indexes(database)
    assert (await indexes(database)).isdisjoint(REPLACED)
