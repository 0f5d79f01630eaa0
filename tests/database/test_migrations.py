"""Migrations on a database with rows, up, down and up; and code that meets a schema newer than its own."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from structlog.testing import capture_logs

from alembic import command
from app.database import connections
from app.database.connections import Database, DatabaseUnavailable, alembic_config, migrate
from testing.rows import claim, enqueue
from testing.service import callscribe, serving
from tests.conftest import clone

FUTURE = "29991231"


@pytest.fixture
async def address(postgres: str, template: str) -> AsyncIterator[str]:
    """Address of a migrated, empty database."""
    async with clone(postgres, template) as address:
        yield address


async def execute(address: str, *statements: str) -> None:
    database = Database(address)
    try:
        async with database.engine.begin() as connection:
            for statement in statements:
                await connection.execute(text(statement))
    finally:
        await database.close()


async def shown(address: str, statement: str) -> object:
    database = Database(address)
    try:
        async with database.engine.connect() as connection:
            return (await connection.execute(text(statement))).scalar_one()
    finally:
        await database.close()


async def downgrade(address: str, revision: str) -> None:
    await asyncio.to_thread(command.downgrade, alembic_config(address), revision)


async def test_every_migration_goes_up_down_and_up_again_and_rows_stay(address: str) -> None:
    revisions = [script.revision for script in ScriptDirectory.from_config(alembic_config(address)).walk_revisions()]
    database = Database(address)
    waiting = await enqueue(database)
    for revision in revisions[1:]:
        await downgrade(address, revision)
        assert await shown(address, "SELECT id FROM transcription") == waiting.id
    await migrate(address)
    [job] = await claim(database)
    assert job.id == waiting.id
    await database.close()
    await downgrade(address, "base")
    await migrate(address)
    assert await shown(address, "SELECT count(*) FROM transcription") == 0


async def test_the_migrations_make_what_the_models_say(address: str) -> None:
    await asyncio.to_thread(command.check, alembic_config(address))


async def test_the_floor_is_a_revision_and_one_alone(address: str) -> None:
    floor = await shown(address, "SELECT revision FROM schema_floor")
    assert floor in {
        script.revision for script in ScriptDirectory.from_config(alembic_config(address)).walk_revisions()
    }
    for second in ("true", "false"):
        with pytest.raises(IntegrityError):
            await execute(address, f"INSERT INTO schema_floor VALUES ({second}, 'another')")


async def test_code_that_is_old_enough_works_on_a_newer_schema(address: str, tmp_path: Path) -> None:
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
async def test_code_that_is_too_old_for_a_schema_changes_nothing(address: str, floor: str) -> None:
    await execute(address, floor, f"UPDATE alembic_version SET version_num = '{FUTURE}'")

    with pytest.raises(DatabaseUnavailable, match=f"its schema {FUTURE} was made by a newer version"):
        await migrate(address)

    assert await shown(address, "SELECT version_num FROM alembic_version") == FUTURE


async def test_a_process_that_is_too_old_for_a_schema_says_so_in_one_line(address: str, tmp_path: Path) -> None:
    await execute(
        address, "UPDATE schema_floor SET revision = 'next'", "UPDATE alembic_version SET version_num = 'next'"
    )
    refused = callscribe("worker", folder=tmp_path, DATABASE_URL=address)
    assert refused.returncode == 1
    [line] = [line for line in refused.stderr.splitlines() if not line.startswith("{")]
    assert line.startswith("callscribe: the database ")
    assert "this version is too old for it" in line


async def test_a_migration_waits_for_who_holds_the_table(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A backup holds every table as long as it takes."""
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
