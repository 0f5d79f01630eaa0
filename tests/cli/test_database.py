"""`callscribe database reader`, and what the role may do, on a PostgreSQL that asks for passwords."""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest

from app.database.connections import Database, migrate
from testing.command_line import run_command
from testing.rows import enqueue
from testing.service import callscribe
from testing.tcp_postgres import TcpPostgres, tcp_postgres

READER, SECRET = "callscribe_reader", "tell-nobody-$'1"
REFUSED = (asyncpg.InsufficientPrivilegeError, asyncpg.ReadOnlySQLTransactionError)


@pytest.fixture(scope="module")
def server(workspace: Path) -> Iterator[TcpPostgres]:
    with tcp_postgres(workspace / "tcp") as server:
        yield server


@pytest.fixture
async def calls(server: TcpPostgres) -> AsyncIterator[str]:
    """The address of a migrated database, as its owner, who may make no roles."""
    await server.execute("CREATE ROLE service LOGIN PASSWORD 'pw'", "CREATE DATABASE calls OWNER service")
    await server.execute("GRANT CREATE ON SCHEMA public TO service", database="calls")
    address = server.address("calls", "service", "pw")
    await migrate(address)
    yield address
    await server.execute("DROP DATABASE calls WITH (FORCE)", "DROP ROLE service")
    await server.execute(f"DROP ROLE IF EXISTS {READER}")


async def as_reader(server: TcpPostgres, password: str) -> "asyncpg.Connection[asyncpg.Record]":
    return await asyncpg.connect(host="127.0.0.1", port=server.port, user=READER, password=password, database="calls")


def reader_command(
    folder: Path, address: str, *options: str, given: str | None = None
) -> "subprocess.CompletedProcess[str]":
    return run_command("database", "reader", *options, folder=folder, given=given, DATABASE_URL=address)


async def test_the_role_reads_the_view_and_nothing_else(server: TcpPostgres, calls: str, tmp_path: Path) -> None:
    await server.execute("ALTER ROLE service CREATEROLE")
    database = Database(calls)
    job = await enqueue(database, filename="call.wav")
    await database.close()

    made = await asyncio.to_thread(reader_command, tmp_path, calls, given=f"{SECRET}\n")
    assert (made.returncode, made.stdout.split(".")[0]) == (0, f"The role {READER} is made"), made.stderr

    reader = await as_reader(server, SECRET)
    [row] = await reader.fetch("SELECT * FROM call_transtxt")
    assert (row["audio_filename"], row["transcription_id"], row["transcript_text"]) == ("call.wav", job.id, None)
    tables = await reader.fetch("SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace")
    relations = {row["relname"] for row in tables} - {"call_transtxt"}
    for table in ("transcription", "transcript", "polled_job", "webhook_secret", "alembic_version"):
        assert table in relations
        with pytest.raises(REFUSED):
            await reader.fetch(f"SELECT * FROM {table}")
    readable = """
        SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v', 'S')
        AND (relkind <> 'S' AND has_any_column_privilege(oid, 'SELECT, INSERT, UPDATE')
             OR relkind = 'S' AND has_sequence_privilege(oid, 'USAGE, SELECT, UPDATE'))
    """
    assert [row["relname"] for row in await reader.fetch(readable)] == ["call_transtxt"]
    for change in (
        "UPDATE call_transtxt SET audio_filename = ''",
        "DELETE FROM call_transtxt",
        "CREATE TABLE public.own (n int)",
        "DROP VIEW call_transtxt",
        f"ALTER ROLE {READER} CREATEROLE",
        "CREATE ROLE other",
        "SELECT pg_read_file('PG_VERSION')",
    ):
        with pytest.raises((*REFUSED, asyncpg.ObjectNotInPrerequisiteStateError)):
            await reader.execute(change)
    await reader.close()


async def test_the_password_is_changed_and_never_shown(server: TcpPostgres, calls: str, tmp_path: Path) -> None:
    await server.execute("ALTER ROLE service CREATEROLE")
    outputs = []
    for password in ("first-password", SECRET):
        done = await asyncio.to_thread(reader_command, tmp_path, calls, "--password", password)
        assert done.returncode == 0, done.stderr
        outputs.append(done.stdout + done.stderr)
    assert "has the new password" in outputs[1]
    await (await as_reader(server, SECRET)).close()
    with pytest.raises(asyncpg.InvalidPasswordError):
        await as_reader(server, "first-password")
    log = server.log.read_text()
    assert f"CREATE ROLE {READER} LOGIN PASSWORD 'SCRAM-SHA-256$" in log
    for password in ("first-password", SECRET):
        assert password not in log + "".join(outputs)


async def test_a_user_who_may_make_no_roles_gets_one_line_that_says_what_to_do(
    server: TcpPostgres, calls: str, tmp_path: Path
) -> None:
    refused = await asyncio.to_thread(reader_command, tmp_path, calls, "--password", SECRET)
    [line] = [line for line in refused.stderr.splitlines() if not line.startswith("{")]
    assert (refused.returncode, refused.stdout) == (2, "")
    assert line.startswith("callscribe: this user of the database may not make or change roles")
    assert "CREATE ROLE callscribe_reader LOGIN" in line
    assert SECRET not in refused.stderr

    await server.execute(f"CREATE ROLE {READER} LOGIN CREATEDB", "ALTER ROLE service CREATEROLE")
    refused = await asyncio.to_thread(reader_command, tmp_path, calls, "--password", SECRET)
    assert "has more rights than to read" in refused.stderr


@pytest.mark.parametrize("password", ["", "pässword", "tab\there"])
def test_a_password_that_cannot_be_used_is_refused(tmp_path: Path, password: str) -> None:
    refused = run_command("database", "reader", "--password", password, folder=tmp_path)
    assert refused.returncode == 2
    assert "--password" in refused.stderr


def test_the_embedded_database_says_who_can_reach_it(tmp_path: Path) -> None:
    made = callscribe("database", "reader", "--password", SECRET, folder=tmp_path)
    assert made.returncode == 0, made.stderr
    assert "listens only on a socket in" in made.stderr
    assert SECRET not in made.stdout + made.stderr
