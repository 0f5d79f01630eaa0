"""`callscribe doctor` on databases that are away, refuse, or are not as this version needs them."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from alembic import command
from app.cli.doctor import schema
from app.cli.doctor.examining import examine
from app.database.connections import Database, alembic_config
from testing.ports import free_ports
from testing.rows import claim, enqueue
from testing.rows import execute_at as execute
from testing.tcp_postgres import TcpPostgres, tcp_postgres
from tests.cli.doctor.conftest import Diagnosis
from tests.conftest import clone

FUTURE = "29991231"


@pytest.fixture(scope="module")
def tcp(workspace: Path) -> Iterator[TcpPostgres]:
    with tcp_postgres(workspace / "doctor-tcp") as server:
        yield server


async def test_a_database_that_works_is_fine(diagnosed: Diagnosis, address: str) -> None:
    for check in ("database", "schema", "clock", "worker", "keys"):
        [finding] = await diagnosed(check, DATABASE_URL=address)
        assert finding.status == "ok", finding


async def test_a_database_that_is_down(diagnosed: Diagnosis) -> None:
    [port] = free_ports(1)
    [finding] = await diagnosed("database", DATABASE_URL=f"postgresql://calls:secret@127.0.0.1:{port}/calls")
    assert (finding.status, finding.text) == (
        "failed",
        f"127.0.0.1:{port}, database calls: nothing listens at this host and port",
    )
    assert finding.advice.startswith("Start PostgreSQL")


async def test_a_host_that_does_not_exist(diagnosed: Diagnosis) -> None:
    [finding] = await diagnosed("database", DATABASE_URL="postgresql://calls:secret@nowhere.invalid/calls")
    assert finding.text == "nowhere.invalid, database calls: the name of its host is not known"


async def test_a_wrong_password(diagnosed: Diagnosis, tcp: TcpPostgres) -> None:
    [finding] = await diagnosed("database", DATABASE_URL=tcp.address(password="wrong"))
    assert finding.status == "failed"
    assert finding.text == f"127.0.0.1:{tcp.port}, database postgres: it refuses the user or the password"


async def test_a_database_that_was_not_made(diagnosed: Diagnosis, tcp: TcpPostgres) -> None:
    [finding] = await diagnosed("database", DATABASE_URL=tcp.address("calls"))
    assert finding.status == "failed"
    assert finding.text.endswith("there is no such database on the server")
    assert finding.advice.startswith("Make the database")


async def test_a_user_who_may_make_no_tables(diagnosed: Diagnosis, tcp: TcpPostgres) -> None:
    await tcp.execute("CREATE DATABASE strict", "CREATE ROLE clerk LOGIN PASSWORD 'clerks'")
    [finding] = await diagnosed("database", DATABASE_URL=tcp.address("strict", "clerk", "clerks"))
    assert finding.status == "failed"
    assert "may make no tables" in finding.text
    assert finding.advice.startswith("GRANT CREATE ON SCHEMA public")


async def test_a_database_without_most_languages(diagnosed: Diagnosis, tcp: TcpPostgres) -> None:
    await tcp.execute("CREATE DATABASE narrow TEMPLATE template0 ENCODING SQL_ASCII LOCALE 'C'")
    [finding] = await diagnosed("database", DATABASE_URL=tcp.address("narrow"))
    assert finding.text == "its encoding is SQL_ASCII, which lacks most languages"


async def test_a_database_without_tables_is_not_migrated(diagnosed: Diagnosis, postgres: str) -> None:
    async with clone(postgres, "template1") as empty:
        [finding] = await diagnosed("schema", DATABASE_URL=empty)
        assert finding.status == "warning"
        assert finding.text.startswith("the database has no tables yet")
        [again] = await diagnosed("schema", DATABASE_URL=empty)
        assert again == finding


async def test_pending_migrations_are_counted_and_not_run(diagnosed: Diagnosis, address: str) -> None:
    await asyncio.to_thread(command.downgrade, alembic_config(address), "20261205")
    for _ in range(2):
        [finding] = await diagnosed("schema", DATABASE_URL=address)
        assert finding.status == "warning"
        assert finding.text.startswith("its schema is 20261205, and ")
        assert finding.facts["pending"] >= 3


async def test_a_newer_schema_that_this_version_can_work_with(diagnosed: Diagnosis, address: str) -> None:
    await execute(address, f"UPDATE alembic_version SET version_num = '{FUTURE}'")
    [finding] = await diagnosed("schema", DATABASE_URL=address)
    assert finding.status == "warning"
    assert finding.text.startswith(f"a newer version made its schema {FUTURE}")


async def test_a_newer_schema_that_this_version_is_too_old_for(diagnosed: Diagnosis, address: str) -> None:
    await execute(
        address,
        f"UPDATE alembic_version SET version_num = '{FUTURE}'",
        f"UPDATE schema_floor SET revision = '{FUTURE}'",
    )
    [finding] = await diagnosed("schema", DATABASE_URL=address)
    assert finding.status == "failed"
    assert "this version is too old for it" in finding.text


@pytest.mark.parametrize(("seconds", "status"), [(0, "ok"), (30, "warning"), (-30, "warning"), (3600, "failed")])
async def test_a_clock_that_is_off(
    diagnosed: Diagnosis, address: str, monkeypatch: pytest.MonkeyPatch, seconds: int, status: str
) -> None:
    right = schema.now
    monkeypatch.setattr(schema, "now", lambda: right() + timedelta(seconds=seconds))
    [finding] = await diagnosed("clock", DATABASE_URL=address)
    assert finding.status == status
    assert abs(finding.facts["seconds"] - seconds) < 2


async def test_jobs_without_a_worker(diagnosed: Diagnosis, address: str) -> None:
    database = Database(address)
    await enqueue(database)
    await enqueue(database)
    await claim(database)
    await database.close()
    [finding] = await diagnosed("worker", DATABASE_URL=address)
    assert finding.status == "warning"
    assert finding.text == "no process of the service is connected to the database; waiting jobs: 1, running jobs: 1"


async def test_a_pause_explains_why_jobs_wait(diagnosed: Diagnosis, address: str) -> None:
    pause = "INSERT INTO pause (what, reason, paused_by, paused_at) VALUES ('claims', 'new disk', 'anna', now())"
    await execute(address, pause)
    [finding] = await diagnosed("worker", DATABASE_URL=address)
    assert finding.status == "warning"
    assert finding.text.startswith("paused: claims by anna; ")


async def test_jobs_whose_worker_died(diagnosed: Diagnosis, address: str) -> None:
    database = Database(address)
    await enqueue(database)
    await claim(database)
    await execute(address, "UPDATE transcription SET lease_until = now() - interval '1 minute'")
    [finding] = await diagnosed("worker", DATABASE_URL=address)  # while this pool is connected like a service
    await database.close()
    assert finding.status == "warning"
    assert "1 of them with a lease that has ended" in finding.text


async def test_a_database_without_a_signing_secret(diagnosed: Diagnosis, address: str) -> None:
    [finding] = await diagnosed("signing secret", DATABASE_URL=address)
    assert finding.status == "warning"
    assert finding.text.startswith("the database has none")


async def test_one_cause_gives_one_failure(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    [port] = free_ports(1)
    monkeypatch.setenv("CALLSCRIBE_DATA_DIR", str(folder))
    monkeypatch.setenv("CALLSCRIBE_DATABASE_URL", f"postgresql://calls@127.0.0.1:{port}/calls")
    only = ["database", "schema", "clock", "worker", "keys"]
    statuses = {named.check: str(named.finding.status) async for named in examine(only)}
    assert [name for name, status in statuses.items() if status == "failed"] == ["database"]
    assert {statuses[name] for name in only[1:]} == {"skipped"}
