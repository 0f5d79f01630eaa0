"""The numbers of a database with a million jobs: the plans of PostgreSQL, and what a scrape takes."""

import re
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import psutil
import pytest

from app.analysis import numbers as analysis
from app.database.connections import Database
from app.deliveries import lateness
from app.jobs.reads import numbers
from app.numbers import Numbers
from app.storage.disk import FreeSpace
from testing.rows import fill
from tests.conftest import clone

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
JOBS = 1_000_000
DELIVERIES = 100_000
ANALYSES = 100_000
SCRAPES = 40
MOST_TIMES_LONGER = 3.0
WAITING = 2000
INDEXES = (
    "transcription_of_tenant",
    "transcription_of_tenant_by_status",
    "transcription_running",
    "transcription_claim",
    "transcription_claim_to_fetch",
)
# Without triggers, and with the indexes that a number uses made afterwards, a million rows take seconds.
FILL = (
    "SET session_replication_role = replica",
    "ALTER TABLE transcription DROP CONSTRAINT IF EXISTS transcription_idempotency",
    """
    DO $$ DECLARE name text; BEGIN
        FOR name IN SELECT indexname FROM pg_indexes WHERE tablename = 'transcription'
            AND indexname NOT IN (SELECT conname FROM pg_constraint)
        LOOP EXECUTE 'DROP INDEX ' || quote_ident(name); END LOOP;
    END $$
    """,
    f"""
    INSERT INTO transcription (id, caller, fingerprint, metadata, options, priority, webhook_urls, callback_urls,
        status, progress, attempts, crashes, run_at, cancel_requested, source, warnings, created_at, completed_at)
    SELECT lpad(to_hex(n), 32, '0')::uuid, CASE WHEN n % 20 = 7 THEN 'waited' ELSE 'key' END, 'f', '{{}}', '{{}}', 5,
        '[]', '[]',
        CASE WHEN n % 1000 = 0 THEN 'cancelled' WHEN n % 50 = 0 THEN 'failed' ELSE 'completed' END,
        1, 1, 0, now(), false, 'upload', '[]', now(), now() FROM generate_series(1, {JOBS}) AS n
    """,
    f"""
    INSERT INTO delivery (id, event_id, style, url, host, status, attempts, tries, next_attempt_at, created_at,
        finished_at)
    SELECT gen_random_uuid(), gen_random_uuid(), 'webhook', 'https://a.example/', 'host-' || n % 100,
        CASE WHEN n % 20 = 0 THEN 'pending' ELSE 'delivered' END, 1, 1, now() + interval '1 s' * (n % 7200 - 3600),
        now(), CASE WHEN n % 20 = 0 THEN NULL ELSE now() END FROM generate_series(1, {DELIVERIES}) AS n
    """,
    f"""
    INSERT INTO analysis (transcription_id, tenant, wants_judgement, waits_for_model, status, run_at, lease_token,
        created_at, completed_at)
    SELECT lpad(to_hex(n), 32, '0')::uuid, 'tenant-' || n % 200, true, n % 3 > 0,
        CASE WHEN n % 1000 = 0 THEN 'in_progress' WHEN n % 2 = 0 THEN 'pending' ELSE 'completed' END,
        now() + interval '1 s' * (n % 7200 - 3600), CASE WHEN n % 1000 = 0 THEN gen_random_uuid() END,
        now(), CASE WHEN n % 2 = 1 THEN now() END FROM generate_series(1, {ANALYSES}) AS n
    """,
    "VACUUM transcription",
    "VACUUM ANALYZE analysis",
    "ANALYZE delivery",
)
ENDED_LATELY = (
    # The statistics are those of a long queue that has ended since.
    "UPDATE transcription SET status = 'pending', completed_at = NULL WHERE caller = 'waited'",
    "ANALYZE transcription",
    "DELETE FROM transcription WHERE caller = 'waited'",
)
STATEMENTS = {"queue": numbers._QUEUE, "ended": numbers._ENDED, "deliveries": lateness._OLDEST}
STATEMENTS["analyses"] = analysis._NUMBERS


@pytest.fixture(scope="module")
async def address(postgres: str, template: str) -> AsyncIterator[str]:
    async with clone(postgres, template) as address:
        connection = await asyncpg.connect(address)
        indexes = "SELECT indexdef FROM pg_indexes WHERE indexname = ANY($1)"
        remade = [row["indexdef"] for row in await connection.fetch(indexes, INDEXES)]
        assert len(remade) == len(INDEXES)
        for statement in (*FILL, *remade, *ENDED_LATELY):
            await connection.execute(statement, timeout=200)
        await connection.close()
        yield address


@pytest.fixture
async def large(address: str) -> AsyncIterator[Database]:
    database = Database(address)
    yield database
    await database.close()


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


@pytest.mark.parametrize("name", STATEMENTS)
async def test_no_number_reads_the_whole_table(large: Database, name: str) -> None:
    """Also when the statistics promise many jobs that wait, because they are older than the end of a long queue."""
    async with large.engine.begin() as connection:
        await connection.execute(numbers._BY_INDEX)
        explained = await connection.exec_driver_sql(f"EXPLAIN (ANALYZE, FORMAT json) {STATEMENTS[name]}")
        [answer] = explained.scalar_one()
    read = [node for node in nodes(answer["Plan"]) if "Relation Name" in node]
    assert read
    assert [node for node in read if node["Node Type"] == "Seq Scan"] == [], answer
    for node in read:
        touched = node["Actual Loops"] * (node["Actual Rows"] + node.get("Rows Removed by Filter", 0))
        assert touched <= 2 * numbers.COUNTED, answer


async def scraped(address: str, tmp_path: Path) -> tuple[float, bytes]:
    """A scrape: its processor time, here and in PostgreSQL, because other tests use this machine too, and its text."""
    database = Database(address, pool_size=1)
    async with database.engine.connect() as connection:
        server = psutil.Process((await connection.exec_driver_sql("SELECT pg_backend_pid()")).scalar_one())
    before = time.process_time() + sum(server.cpu_times()[:2])
    for _ in range(SCRAPES):
        fresh = Numbers(database, FreeSpace([tmp_path], 0))  # so that it asks the database each time
        body, _ = await fresh.text("")
    took = (time.process_time() + sum(server.cpu_times()[:2]) - before) / SCRAPES
    await database.close()
    return took, body


async def test_a_scrape_of_a_million_jobs_takes_little_more_than_one_of_none(
    address: str, postgres: str, template: str, tmp_path: Path
) -> None:
    async with clone(postgres, template) as small:
        for each in (address, small):
            database = Database(each, pool_size=1)
            await fill(database, WAITING, 20)
            await database.close()
        ratios = []
        for _ in range(3):  # in turn, because the machine is not always as fast
            (took_of_none, _), (took, body) = await scraped(small, tmp_path), await scraped(address, tmp_path)
            ratios.append(took / took_of_none)
    assert f'callscribe_jobs{{status="pending"}} {WAITING}.0\n'.encode() in body
    jobs = {status: float(count) for status, count in re.findall(rb'callscribe_jobs{status="(\w+)"} (\S+)', body)}
    assert jobs[b"completed"] == pytest.approx(0.93 * JOBS, rel=0.02)
    assert jobs[b"failed"] == pytest.approx(0.019 * JOBS, rel=0.1)
    assert min(ratios) <= MOST_TIMES_LONGER, ratios
