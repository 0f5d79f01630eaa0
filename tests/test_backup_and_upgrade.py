"""The commands of docs/backup-and-upgrade.md, run as they stand, on an embedded PostgreSQL and on an operator's own."""

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from app.database.address import parse_address
from app.database.copying import libpq_environment
from testing.recordings import call
from testing.service import Service, callscribe, environment, serving
from testing.tcp_postgres import TcpPostgres, tcp_postgres

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "backup-and-upgrade.md").read_text()
OLDEST = min(path.name.partition("_")[0] for path in (ROOT / "alembic" / "versions").glob("*.py"))


def commands(beginning: str) -> str:
    """The block of the page that begins with these words, for this checkout."""
    [block] = re.findall(rf"```sh\n({re.escape(beginning)}.*?)```", PAGE, re.DOTALL)
    return str(block).replace(".venv/bin/callscribe", f"{sys.executable} -m app.cli")


BACK_UP = commands('mkdir -p -m 700 "$BACKUP/audio"')
RESTORE = commands('mkdir -p -m 700 "$DATA/audio"')
DOWNGRADE = commands(".venv/bin/callscribe database downgrade")
ONE_MORE = commands("curl -sS http://127.0.0.1:8000")
VARIABLES = commands("DATA=")


def run(script: str, folder: Path, backup: Path, **settings: str) -> str:
    variables = re.sub(r"^BACKUP=.*", f"BACKUP={backup}", VARIABLES, flags=re.MULTILINE)
    done = subprocess.run(
        ["bash", "-euc", variables + script],
        env=environment(folder, **settings) | {"PYTHONPATH": str(ROOT), "KEY": ""},  # the service has no keys
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@contextmanager
def waiting(folder: Path, **settings: str) -> Iterator[tuple[Service, str]]:
    """A service that runs no jobs, and the path of a job that waits there."""
    with serving(folder, "--no-executor", **settings) as service:
        yield service, service.create(call(0.6, 6.0), language="en")["links"]["self"]


def finished(service: Service, path: str) -> str:
    """Waits for a job, and returns its text."""
    assert service.read(f"{path}?wait=60")["status"] == "completed"
    return service.client.get(f"{path}/transcript?format=text").text


@pytest.mark.slow
def test_an_embedded_database_is_backed_up_and_restored_on_an_empty_machine(workspace: Path) -> None:
    old, new, backup = workspace / "machine", workspace / "empty", workspace / "backup"
    with waiting(old) as (_, job):
        run(BACK_UP, old, backup)
    assert (backup / "callscribe.dump").stat().st_mode & 0o777 == 0o600

    assert "failed " not in run(RESTORE, new, backup)
    with serving(new) as service:
        assert "green garden" in finished(service, job).lower()
        one_more = run(ONE_MORE.replace("http://127.0.0.1:8000", service.url), new, backup)
        finished(service, re.findall(r"/v1/transcriptions/[0-9a-f-]{36}", one_more)[0])
        twice = callscribe("database", "restore", str(backup / "callscribe.dump"), folder=new)
    assert twice.returncode == 2
    assert "has tables already, so nothing was restored" in twice.stderr


@pytest.mark.slow
def test_a_schema_goes_back_and_is_upgraded_with_jobs_that_wait(workspace: Path) -> None:
    """The schema of the oldest version, with a job in it, is what an upgrade begins with."""
    folder = workspace / "upgraded"
    with waiting(folder) as (_, job):
        refused = callscribe("database", "downgrade", OLDEST, "--yes", folder=folder)
    assert refused.returncode == 2
    assert "stop all of them first" in refused.stderr

    run(f"REVISION={OLDEST}\n{DOWNGRADE}", folder, workspace)
    pending = callscribe("doctor", "--only", "schema", folder=folder)
    assert f"its schema is {OLDEST}, and " in pending.stdout
    with serving(folder) as service:
        assert "green garden" in finished(service, job).lower()


@pytest.fixture(scope="module")
def tcp(workspace: Path) -> Iterator[TcpPostgres]:
    with tcp_postgres(workspace / "copies") as server:
        yield server


@pytest.mark.slow
async def test_a_postgresql_of_the_operator_is_backed_up_and_restored(tcp: TcpPostgres, workspace: Path) -> None:
    await tcp.execute("CREATE DATABASE before", "CREATE DATABASE after")
    await tcp.execute("CREATE SCHEMA calls", database="before")
    await tcp.execute("CREATE SCHEMA calls", database="after")
    before, after = (f"{tcp.address(name)}?options=-csearch_path%3Dcalls" for name in ("before", "after"))
    old, new, backup = workspace / "own-machine", workspace / "own-empty", workspace / "own-backup"
    with waiting(old, DATABASE_URL=before) as (_, job):
        run(BACK_UP, old, backup, DATABASE_URL=before)

    wrong = callscribe("database", "restore", str(backup / "callscribe.dump"), folder=new, DATABASE_URL=tcp.address())
    assert wrong.returncode == 2
    assert "has no tables of a schema 'public', so nothing was restored" in wrong.stderr
    run(RESTORE, new, backup, DATABASE_URL=after)
    with serving(new, DATABASE_URL=after) as service:
        assert "green garden" in finished(service, job).lower()


def test_a_folder_without_a_database_is_not_backed_up(tmp_path: Path) -> None:
    refused = callscribe("database", "backup", str(tmp_path / "file"), folder=tmp_path)
    assert refused.returncode == 2
    assert "there is no database in" in refused.stderr
    assert not (tmp_path / "postgres").exists()
    missing = callscribe("database", "restore", str(tmp_path / "none"), folder=tmp_path)
    assert "there is no such file" in missing.stderr


def test_postgresql_s_programs_get_the_address_by_the_environment() -> None:
    address = parse_address(
        "postgresql+asyncpg://us%40er:p%40ss@one:5433,two/calls?sslmode=require&options=-csearch_path%3Da%5C%20b&pgbouncer=true"
    )
    found = libpq_environment(address)
    assert found["PGHOST"] == "one,two"
    assert (found["PGUSER"], found["PGPASSWORD"], found["PGDATABASE"]) == ("us@er", "p@ss", "calls")
    assert found["PGPORT"] == "5433,"
    assert found["PGSSLMODE"] == "require"
    assert found["PGTARGETSESSIONATTRS"] == "read-write"
    assert "PGPASSFILE" not in found
