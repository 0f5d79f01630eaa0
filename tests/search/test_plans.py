"""How PostgreSQL searches after it has made many searches on one connection."""

import pytest

from app.database.connections import Database
from app.jobs.reads import searching
from app.jobs.reads.listing import Wanted
from app.jobs.reads.reading import Reader
from app.search.query import parse
from testing.rows import TESTER
from testing.said import ids, said

SEARCHES = 10  # after five, PostgreSQL might make one plan for all that follow


async def test_a_connection_that_has_searched_often_still_plans_each_search(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    for walk in ("FIRST_WALK", "LONGEST_WALK"):
        monkeypatch.setattr(searching, walk, 1)
    calls = [await said(database, "I want a refund.") for _ in range(3)]
    for _ in range(SEARCHES):
        page = await Reader(database).page(Wanted(query=parse("refund"), order="oldest"), TESTER)
        assert [str(item.job.id) for item in page.items] == ids(calls)
    async with database.engine.connect() as connection:
        prepared = await connection.exec_driver_sql(
            "SELECT generic_plans, custom_plans FROM pg_prepared_statements WHERE statement LIKE 'WITH%words @@%'"
        )
        plans = prepared.one()
    assert (plans.generic_plans, plans.custom_plans) == (0, SEARCHES)
