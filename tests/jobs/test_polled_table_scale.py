"""Polls of `call_transtxt` go by index: the plans of PostgreSQL with a million jobs."""

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import asyncpg
import pytest

from tests.conftest import clone

JOBS = 1_000_000
pytestmark = pytest.mark.slow
# Without triggers and without the queue's indexes, which no poll uses, a million rows take seconds.
FILL = (
    "SET session_replication_role = replica",
    """
    DO $$ DECLARE name text; BEGIN
        FOR name IN SELECT indexname FROM pg_indexes WHERE tablename = 'transcription'
            AND indexname NOT IN ('transcription_pkey', 'transcription_idempotency', 'transcription_ended')
        LOOP EXECUTE 'DROP INDEX ' || name; END LOOP;
    END $$
    """,
    f"""
    INSERT INTO transcription (id, caller, fingerprint, metadata, options, priority, webhook_urls, callback_urls,
        status, progress, attempts, crashes, run_at, cancel_requested, source, warnings, created_at, completed_at)
    SELECT md5(n::text)::uuid, 'key', 'f', '{{}}', '{{}}', 5, '[]', '[]', 'completed', 1, 1, 0, now(), false, 'upload',
        '[]', now(), now() - interval '1 s' * ({JOBS} - n) FROM generate_series(1, {JOBS}) AS n
    """,
    f"""
    INSERT INTO polled_job (transcription_id, filename, status, notify_status)
    SELECT md5(n::text)::uuid, 'call-' || n || '.wav',
        CASE WHEN n % 1000 = 0 THEN 'failed' ELSE 'completed' END,
        CASE WHEN n % 1000 = 1 THEN 'notification_failed' ELSE 'notified' END
    FROM generate_series(1, {JOBS}) AS n
    """,
    "ANALYZE",
)
POLLS = (
    "id = 77",
    f"id > {JOBS - 100} ORDER BY id",
    "transcript_status = 'failed' ORDER BY id LIMIT 100",
    "transcript_status = 'failed' ORDER BY id DESC LIMIT 100",
    "transcript_status = 'completed' ORDER BY id DESC LIMIT 100",
    "transcript_status IN ('pending', 'in_progress')",
    f"transcript_status = 'completed' AND id > {JOBS // 2} ORDER BY id LIMIT 100",
    "notify_status = 'notification_failed' ORDER BY id LIMIT 100",
    "notify_status = 'not_notified' ORDER BY id LIMIT 100",
    "transcript_status = 'completed' AND notify_status = 'not_notified' ORDER BY id LIMIT 100",
    "audio_filename = 'call-7.wav' ORDER BY id DESC LIMIT 1",
    "transcription_completed_at > now() - interval '1 min' ORDER BY transcription_completed_at LIMIT 100",
)


@pytest.fixture(scope="module")
async def connection(postgres: str, template: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    async with clone(postgres, template) as address:
        connection = await asyncpg.connect(address)
        for statement in FILL:
            await connection.execute(statement, timeout=100)
        yield connection
        await connection.close()


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


@pytest.mark.parametrize("poll", POLLS)
async def test_a_poll_goes_by_index_and_reads_few_rows(
    connection: "asyncpg.Connection[asyncpg.Record]", poll: str
) -> None:
    explain = f"EXPLAIN (ANALYZE, FORMAT json) SELECT * FROM call_transtxt WHERE {poll}"
    [answer] = json.loads(await connection.fetchval(explain, timeout=30))
    read = [node for node in nodes(answer["Plan"]) if node.get("Relation Name") in ("polled_job", "transcription")]
    assert {node["Node Type"] for node in read} <= {"Index Scan", "Bitmap Heap Scan"}, answer
    touched = sum(node["Actual Loops"] * (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) for node in read)
    assert touched <= 1000, answer
