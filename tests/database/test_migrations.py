"""Migrations on a database with rows, up, down and up; and code that meets a schema newer than its own."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import make_url, text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlmodel import SQLModel
from structlog.testing import capture_logs

from alembic import command
from app.database import connections
from app.database.connections import Database, DatabaseUnavailable, alembic_config, migrate
from app.jobs.reads.metadata_terms import FUNCTION
from app.transcripts.entities import Entity
from app.transcripts.transcript import Options
from testing.rows import claim, enqueue
from testing.rows import execute_at as execute
from testing.service import callscribe, serving
from tests.conftest import clone

FUTURE = "29991231"
CATALOG = """
    SELECT relname, array_agg(part ORDER BY part) FROM (
        SELECT attrelid AS table_id, concat_ws(' ', 'column', attname, format_type(atttypid, atttypmod),
            CASE WHEN attnotnull THEN 'NOT NULL' END, 'DEFAULT ' || pg_get_expr(adbin, adrelid)) AS part
        FROM pg_attribute LEFT JOIN pg_attrdef ON (adrelid, adnum) = (attrelid, attnum)
        WHERE attnum > 0 AND NOT attisdropped
        UNION ALL SELECT conrelid, concat_ws(' ', 'constraint', conname, pg_get_constraintdef(oid)) FROM pg_constraint
            WHERE contype <> 't'
        UNION ALL SELECT indrelid, pg_get_indexdef(indexrelid) FROM pg_index
    ) AS parts JOIN pg_class ON pg_class.oid = table_id
    WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' GROUP BY relname
"""
JOB, EVENT, DELIVERY = (f"00000000-0000-0000-0000-00000000000{n}" for n in range(3))
ROWS = (
    f"""
    INSERT INTO transcription (id, caller, fingerprint, metadata, options, priority, webhook_urls, callback_urls,
        status, progress, attempts, crashes, run_at, cancel_requested, source, warnings, created_at, completed_at)
    VALUES ('{JOB}', 'test', 'f', '{{"a": 1}}', '{{}}', 5, '["http://a"]', '[]', 'completed', 1, 1, 0, now(),
        false, 'upload', '[]', now(), now())
    """,
    f"INSERT INTO transcript VALUES ('{JOB}', 'good morning')",
    f"INSERT INTO transcript_part VALUES ('{JOB}', gen_random_uuid(), 0, 1.5, '[]')",
    f"INSERT INTO awaited_job VALUES ('{JOB}', 'test', 'hash', now(), now())",
    f"INSERT INTO event VALUES ('{EVENT}', '{JOB}', 'transcription.completed', 'body', now())",
    f"""
    INSERT INTO delivery (id, event_id, style, url, host, status, attempts, tries, next_attempt_at, created_at)
    VALUES ('{DELIVERY}', '{EVENT}', 'webhook', 'http://a', 'a', 'pending', 1, 1, now(), now())
    """,
    f"""
    INSERT INTO delivery_attempt (id, delivery_id, started_at, milliseconds, status_code, response)
    VALUES (gen_random_uuid(), '{DELIVERY}', now(), 1, 500, '')
    """,
    "INSERT INTO webhook_secret (id, secret, created_at) VALUES (gen_random_uuid(), 'whsec_AA==', now())",
)

OF_LATER_TABLES = (
    f"INSERT INTO transcript_search VALUES ('{JOB}', 0, 'good:1 morning:2')",
    f"INSERT INTO erased_file VALUES ('{JOB}', 'key', 'file:///in/call.wav', now(), NULL)",
)
OF_FOLDERS = (f"INSERT INTO installation (id) VALUES ('{JOB}')",)
OF_TENANTS = (
    "INSERT INTO tenant (name) VALUES ('acme')",
    f"""
    INSERT INTO api_key (id, tenant, name, hash, hint, scopes, created_by)
        VALUES ('{JOB}', 'acme', 'crm', 'hash', 'csk_', '{{read}}', 'test')
    """,
)
OF_CONTROL = (
    "INSERT INTO pause VALUES ('claims', 'a new disk', 'eva', now(), NULL)",
    "INSERT INTO worker VALUES ('host:1', '1.0', '[]', 'working', now(), now())",
)
OF_LIMITS = (
    "INSERT INTO request_count VALUES ('key crm', now(), 1)",
    """
    INSERT INTO usage_entry (day, tenant, caller, model, status, audio_seconds)
        VALUES ('2026-12-13', 'acme', 'acme:crm', 'base', 'completed', 1)
    """,
    "INSERT INTO usage_sum SELECT day, tenant, caller, model, 1, 0, 0, 0 FROM usage_entry WHERE tenant = 'default'",
    "INSERT INTO audit (caller, tenant, action) VALUES ('acme:crm', 'acme', 'transcript.read')",
)
OF_ANALYSES = (
    f"""
    INSERT INTO analysis (transcription_id, tenant, wants_judgement, status, run_at, created_at, completed_at)
        VALUES ('{JOB}', 'default', true, 'completed', now(), now(), now())
    """,
    "INSERT INTO language_model_use VALUES ('2026-12-16', 'default', 100)",
)
OF_REPORTS = (f"INSERT INTO call_facts (transcription_id, holds, keywords) VALUES ('{JOB}', 1, '{{refund}}')",)
OF_BATCHES = (
    f"""
    INSERT INTO recording_batch VALUES ('{JOB}', 'test', 'key', 'f', '2019', 'feeding', 's3://calls/*', '{{}}', 1, 1, 0,
        true, 'a', NULL, now(), now(), 0, now(), NULL)
    """,
    f"INSERT INTO recording_batch_row VALUES ('{JOB}', 1, 's3://calls/a', '{{}}', '{JOB}', NULL, NULL)",
)

OF_RULES = (
    """INSERT INTO category VALUES ('acme', 'refund', '{"any_of": ["refund"]}', now())""",
    """INSERT INTO scorecard VALUES ('acme', 'quality', '{"questions": []}', now())""",
)

OF_REDACTION = (f"INSERT INTO unredacted_transcript VALUES ('{JOB}', 'my card is 4929')",)

OF_LIVE = (
    "INSERT INTO live_token VALUES ('hash', 'acme:crm', 'check', now())",
    f"""
    INSERT INTO live_call VALUES
        ('{JOB}', 'acme', 'acme:crm', 'own', NULL, '{{}}', '{{agent}}', 1, 1, '{{}}', false, now(), now(), NULL, NULL)
    """,
    f"""INSERT INTO live_event VALUES ('{JOB}', 1, '{{"type": "started"}}')""",
)

OF_RUNNING_JOBS = {
    "live_token",
    "live_call",
    "live_event",
    "recording_batch",
    "recording_batch_row",
    "transcript_part",
    "transcript_search",
    "awaited_job",
    "erased_file",
    "installation",
    "tenant",
    "api_key",
    "pause",
    "worker",
    "request_count",
    "usage_entry",
    "audit",
    "category",
    "scorecard",
    "analysis",
    "language_model_use",
    "call_facts",
    "unredacted_transcript",
}  # a way down drops their rows, because an older version has no such table


@pytest.fixture
async def address(postgres: str, template: str) -> AsyncIterator[str]:
    """The address of a migrated, empty database."""
    async with clone(postgres, template) as address:
        yield address


async def shown(address: str, statement: str) -> object:
    database = Database(address)
    try:
        async with database.engine.connect() as connection:
            return (await connection.execute(text(statement))).scalar_one()
    finally:
        await database.close()


async def upgrade(address: str, revision: str) -> None:
    await asyncio.to_thread(command.upgrade, alembic_config(address), revision)


async def downgrade(address: str, revision: str) -> None:
    await asyncio.to_thread(command.downgrade, alembic_config(address), revision)


async def create_all(address: str) -> None:
    database = Database(address)
    async with database.engine.begin() as connection:
        await connection.execute(text(FUNCTION))
        await connection.run_sync(SQLModel.metadata.create_all)
    await database.close()


def revisions(address: str) -> list[str]:
    """Every revision, the newest first."""
    return [script.revision for script in ScriptDirectory.from_config(alembic_config(address)).walk_revisions()]


async def schema(address: str) -> dict[str, list[str]]:
    """The columns, constraints and indexes of each table, from PostgreSQL's catalog."""
    database = Database(address)
    try:
        async with database.engine.connect() as connection:
            return {table: parts for table, parts in await connection.execute(text(CATALOG))}  # noqa: C416  mypy
    finally:
        await database.close()


async def rows(address: str) -> dict[str, object]:
    """Every row of every table of the service, as text."""
    tables = SQLModel.metadata.tables
    return {table: await shown(address, f"SELECT json_agg(row)::text FROM {table} AS row") for table in tables}


async def test_a_database_that_does_not_take_all_languages_is_refused(postgres: str) -> None:
    connection = await asyncpg.connect(postgres)
    await connection.execute("CREATE DATABASE ascii TEMPLATE template0 ENCODING SQL_ASCII LOCALE 'C'")
    await connection.close()
    with pytest.raises(DatabaseUnavailable, match="its encoding is SQL_ASCII, not UTF8"):
        await migrate(make_url(postgres).set(database="ascii").render_as_string(hide_password=False))


async def test_every_migration_goes_down_and_up_with_rows_in_every_table(address: str) -> None:
    newest_first = revisions(address)
    database = Database(address)
    waiting = await enqueue(database)
    await execute(address, *ROWS, *OF_LATER_TABLES, *OF_BATCHES, *OF_FOLDERS, *OF_TENANTS)
    await execute(address, *OF_CONTROL, *OF_LIMITS, *OF_RULES, *OF_ANALYSES, *OF_REPORTS, *OF_REDACTION)
    await execute(address, *OF_LIVE)
    schemas, contents = {newest_first[0]: await schema(address)}, await rows(address)
    assert all(contents.values())

    for revision in newest_first[1:]:
        await downgrade(address, revision)
        schemas[revision] = await schema(address)
    for revision in reversed(newest_first[:-1]):
        await upgrade(address, revision)
        assert await schema(address) == schemas[revision], revision
    assert await rows(address) == contents | dict.fromkeys(OF_RUNNING_JOBS)
    [job] = await claim(database)
    assert job.id == waiting.id
    await database.close()

    await downgrade(address, "base")
    assert set(await schema(address)) == {"alembic_version"}
    for revision in reversed(newest_first):
        await upgrade(address, revision)
        assert await schema(address) == schemas[revision], revision


async def test_alembic_finds_no_difference_between_the_migrations_and_the_models(address: str) -> None:
    await asyncio.to_thread(command.check, alembic_config(address))


async def test_the_migrations_make_the_same_schema_as_the_models(address: str, postgres: str) -> None:
    """Alembic compares neither the conditions of checks and indexes nor what a foreign key does on deletion."""
    async with clone(postgres, "template1") as empty:
        await create_all(empty)
        from_models = await schema(empty)
    from_migrations = await schema(address)
    del from_migrations["alembic_version"]
    assert from_migrations == from_models


async def test_the_schema_floor_is_a_single_known_revision(address: str) -> None:
    floor = await shown(address, "SELECT revision FROM schema_floor")
    assert floor in revisions(address)
    for second in ("true", "false"):
        with pytest.raises(IntegrityError):
            await execute(address, f"INSERT INTO schema_floor VALUES ({second}, 'another')")


async def test_code_that_is_not_below_the_floor_works_on_a_newer_schema(address: str, tmp_path: Path) -> None:
    newer = "ALTER TABLE transcription ADD COLUMN later text"
    await execute(address, newer, f"UPDATE alembic_version SET version_num = '{FUTURE}'")

    with capture_logs() as logs:
        await migrate(address)

    [warning] = [entry for entry in logs if entry["log_level"] == "warning"]
    assert (warning["schema"], warning["floor"]) == (FUTURE, "20261121")
    assert await shown(address, "SELECT version_num FROM alembic_version") == FUTURE
    with serving(tmp_path, "--no-executor", DATABASE_URL=address) as service:
        job = service.create()
        assert service.read(job["links"]["self"])["status"] == "pending"


@pytest.mark.parametrize(
    "floor", [f"UPDATE schema_floor SET revision = '{FUTURE}'", "DROP TABLE schema_floor", "DELETE FROM schema_floor"]
)
async def test_code_that_is_below_the_floor_changes_nothing(address: str, floor: str) -> None:
    await execute(address, floor, f"UPDATE alembic_version SET version_num = '{FUTURE}'")

    with pytest.raises(DatabaseUnavailable, match=f"its schema {FUTURE} was made by a newer version"):
        await migrate(address)

    assert await shown(address, "SELECT version_num FROM alembic_version") == FUTURE


async def test_a_process_that_is_below_the_floor_reports_it_in_one_text_line(address: str, tmp_path: Path) -> None:
    await execute(
        address, "UPDATE schema_floor SET revision = 'next'", "UPDATE alembic_version SET version_num = 'next'"
    )
    refused = callscribe("worker", folder=tmp_path, DATABASE_URL=address)
    assert refused.returncode == 1
    [line] = [line for line in refused.stderr.splitlines() if not line.startswith("{")]
    assert line.startswith("callscribe: the database ")
    assert "this version is too old for it" in line


async def test_a_migration_waits_while_another_transaction_holds_the_table(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A backup locks every table until it ends."""
    monkeypatch.setattr(connections, "LOCK_PAUSE_SECONDS", 0.1)
    await downgrade(address, "20261121")
    database = Database(address)
    with capture_logs() as logs:
        async with database.engine.connect() as backup:
            await backup.execute(text("LOCK TABLE transcription IN ACCESS SHARE MODE"))
            migrating = asyncio.create_task(migrate(address))
            while not logs and not migrating.done():
                await asyncio.wait({migrating}, timeout=0.05)
        await migrating
    await database.close()
    assert {(entry["event"], entry["error"]) for entry in logs} == {
        ("waiting for the database", "a table is in use, by a backup or a long transaction")
    }


async def test_each_migration_ends_its_transaction_so_that_no_table_stays_locked_during_the_next_one(
    address: str,
) -> None:
    """The table of events is in use, so the migration that changes it fails. Those before it are done."""
    await downgrade(address, "20261208")
    database = Database(address)
    async with database.engine.connect() as backup:
        await backup.execute(text("LOCK TABLE event IN ACCESS SHARE MODE"))
        with pytest.raises(DBAPIError, match="lock timeout"):
            await upgrade(address, "20261213")
        assert await shown(address, "SELECT version_num FROM alembic_version") == "20261212"
    await upgrade(address, "20261213")
    await database.close()


@pytest.mark.parametrize("table", ["transcription", "recording_batch"])
async def test_the_way_down_does_not_mix_the_calls_of_tenants(address: str, table: str) -> None:
    await execute(address, *ROWS, *OF_BATCHES)
    await execute(address, f"UPDATE {table} SET tenant = 'acme'")
    with pytest.raises(RuntimeError, match="of other tenants"):
        await downgrade(address, "20261208")


async def test_the_way_down_shows_no_original_and_leaves_jobs_that_redact_waiting(address: str) -> None:
    """An older version knows nothing of the redaction."""
    await execute(address, *ROWS, *OF_REDACTION)
    await execute(
        address,
        "UPDATE transcription SET bytes = 9, redacted_bytes = 5, audio_key = 'silenced', original_audio_key = 'sent'",
    )
    database = Database(address)
    waiting = await enqueue(database, options=Options("base", redact=(Entity.PHONE,)))
    await downgrade(address, "20261217")
    assert await shown(address, f"SELECT audio_key || bytes FROM transcription WHERE id = '{JOB}'") == "silenced5"
    take = "UPDATE transcription SET status = 'in_progress', lease_token = id WHERE status = 'pending'"
    await execute(address, take)
    assert await shown(address, f"SELECT status FROM transcription WHERE id = '{waiting.id}'") == "pending"
    await upgrade(address, "head")
    [job] = await claim(database)
    assert job.id == waiting.id
    await database.close()


async def test_a_migration_file_that_cannot_be_read_is_not_taken_for_database_trouble(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "env.py").mkdir()
    monkeypatch.setattr(connections, "SOURCE_MIGRATIONS", tmp_path)
    with pytest.raises(IsADirectoryError):
        await migrate(address)


async def test_the_table_of_calls_has_what_was_written_while_its_migration_ran(address: str) -> None:
    """A process of the earlier version adds a job and notifies a receiver after the migration has read the tables."""
    await downgrade(address, "20261205")
    await execute(address, *ROWS)
    database = Database(address)
    async with database.engine.begin() as older:
        await older.execute(
            text(f"UPDATE delivery SET status = 'delivered', finished_at = now() WHERE id = '{DELIVERY}'")
        )
        await older.execute(text(ROWS[0].replace(JOB, EVENT)))
        migrating = asyncio.create_task(upgrade(address, "20261206"))
        waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'transcription'::regclass")
        while not (await older.execute(waiting)).scalar_one():
            await asyncio.wait({migrating}, timeout=0.02)
    await migrating
    await execute(address, f"DELETE FROM transcription WHERE id = '{EVENT}'", ROWS[0].replace(JOB, DELIVERY))
    await database.close()

    shown_rows = "SELECT string_agg(concat_ws(' ', id, transcript_status, notify_status), ',' ORDER BY id) FROM "
    assert await shown(address, shown_rows + "call_transtxt") == "1 completed notified,3 completed not_notified"
