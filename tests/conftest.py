"""Fixtures that many tests share: an embedded PostgreSQL, databases cloned from a template, and running services."""

import asyncio
import atexit
import gc
import io
import shutil
import tempfile
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest
import structlog
from hypothesis import settings
from sqlalchemy import make_url
from structlog.dev import ConsoleRenderer, plain_traceback

from app.database.connections import Database, migrate
from app.database.embedded import EmbeddedPostgres
from app.storage.s3_store import S3AudioStore
from app.storage.s3_url import S3Url
from app.storage.store import AudioStore
from app.storage.workspace import Workspace
from testing.receiver import Receiver, receiving
from testing.redis_server import RedisProcess, redis_serving
from testing.s3_server import S3Server, s3_serving
from testing.service import Service, serving

# Without this, structlog prints the variables of each traceback, which can take seconds of processor time.
[*FIRST_STEPS, _] = structlog.get_config()["processors"]
structlog.configure(processors=[*FIRST_STEPS, ConsoleRenderer(colors=False, exception_formatter=plain_traceback)])

settings.register_profile("patient", deadline=None)  # no deadline, because a slow machine is not a failure
settings.load_profile("patient")

ALICE, BOB, ALICE_NEW = "alice-secret-1", "bob-secret-2", "alice-secret-3"
LIMITS = {"MAX_UPLOAD_BYTES": "100kB", "MAX_AUDIO_SECONDS": "5", "MAX_PENDING": "5"}  # one key may use four of the five


LOOPS: list[asyncio.AbstractEventLoop] = []


@pytest.fixture(scope="session", autouse=True)
async def _known_loop() -> None:
    LOOPS.append(asyncio.get_running_loop())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(call: pytest.CallInfo[None]) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the stack of each task if a test timed out, because the traceback itself ends in the event loop."""
    report = yield
    if call.excinfo is not None and str(call.excinfo.value).startswith("Timeout"):
        stacks = io.StringIO()
        for task in (task for loop in LOOPS for task in asyncio.all_tasks(loop)):
            task.print_stack(file=stacks)
        report.sections.append(("Stacks of the asyncio tasks", stacks.getvalue()))
    return report


# While tests are collected, nearly all new objects stay. Collections of garbage would take a tenth of the time.
gc.disable()


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


LONG = ("tests/proofs/", "tests/test_proxies.py", "tests/test_backup_and_upgrade.py", "tests/test_wheel.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest, so that the processes of `make proofs` end at about the same time."""
    items.sort(key=lambda item: not item.nodeid.startswith(LONG))


@pytest.fixture(scope="session")
def workspace() -> Path:
    """A folder for databases and services. Its name is short because the path of a socket must be short."""
    folder = Path(tempfile.mkdtemp(prefix="callscribe-tests-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@pytest.fixture(scope="session")
def postgres(workspace: Path) -> Iterator[str]:
    """Address of an embedded PostgreSQL that runs until the end of the test session."""
    embedded = EmbeddedPostgres(workspace / "postgres")
    yield embedded.start()
    embedded.stop()


async def _spare_the_disk(postgres: str) -> None:
    """Make writes cheap, because these databases need not survive a power cut and are too short-lived to vacuum."""
    for setting in ("fsync", "full_page_writes", "synchronous_commit", "autovacuum"):
        await _execute(postgres, f"ALTER SYSTEM SET {setting} = off")
    await _execute(postgres, "SELECT pg_reload_conf()")


@pytest.fixture(scope="session")
async def template(postgres: str) -> str:
    """Name of a database with the newest schema and no rows. Tests clone it."""
    await _spare_the_disk(postgres)
    await _execute(postgres, "CREATE DATABASE migrated")
    await migrate(_address(postgres, "migrated"))
    return "migrated"


@pytest.fixture
async def database(postgres: str, template: str) -> AsyncIterator[Database]:
    """A migrated, empty database of the test's own."""
    async with clone(postgres, template) as address:
        database = Database(address)
        yield database
        await database.close()


@pytest.fixture
def bucket_store(bucket: str, tmp_path: Path) -> Iterator[AudioStore]:
    workspace = Workspace(tmp_path / "work")
    yield S3AudioStore(S3Url(bucket, "audio"), workspace)
    workspace.close()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


@pytest.fixture(scope="session")
def service(workspace: Path) -> Iterator[Service]:
    """The service with default settings: embedded database, real model, no API keys."""
    with serving(workspace / "service") as service:
        yield service


@pytest.fixture(scope="session")
async def guarded_database(postgres: str, template: str) -> AsyncIterator[str]:
    """Address of the guarded service's database."""
    async with clone(postgres, template) as address:
        yield address


@pytest.fixture(scope="session")
def guarded_service(guarded_database: str, workspace: Path) -> Iterator[Service]:
    """A service without a worker, with API keys, small limits, three models and two aliases of models.

    The client sends a key of alice.
    """
    settings = {"DATABASE_URL": guarded_database, "API_KEYS": f"alice:{ALICE},bob:{BOB},alice:{ALICE_NEW}", **LIMITS}
    models, aliases = "base,large-v3-turbo,tiny.en", "qwen3-asr-1.7b=base,Systran/faster-whisper:tiny=tiny.en"
    settings |= {"MODEL": models, "MODEL_ALIASES": aliases}
    with serving(workspace / "guarded", "--no-executor", key=ALICE, **settings) as service:
        yield service


@pytest.fixture
def guarded(guarded_service: Service) -> Iterator[Service]:
    """The guarded service. Its transcriptions are deleted after the test."""
    yield guarded_service
    for job in guarded_service.read("/v1/transcriptions?limit=100")["items"]:
        guarded_service.client.delete(job["links"]["self"])


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """An S3 server with a bucket `calls`, which runs until the end of the test session."""
    with s3_serving() as server:
        server.create_bucket("calls")
        yield server


@pytest.fixture
def bucket(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """Name of an empty bucket. The AWS variables of this process give access to it."""
    for name, value in s3_server.environment().items():
        monkeypatch.setenv(name, value)
    s3_server.empty_bucket("calls")
    return "calls"


@pytest.fixture
def redis() -> Iterator[RedisProcess]:
    """A Redis server of the test's own, without data."""
    with redis_serving() as server:
        yield server


@asynccontextmanager
async def clone(postgres: str, template: str) -> AsyncIterator[str]:
    """Address of a new copy of `template`, which is dropped at the end of the block."""
    name = f"clone_{uuid4().hex}"
    await _execute(postgres, f"CREATE DATABASE {name} TEMPLATE {template}")
    try:
        yield _address(postgres, name)
    finally:
        await _execute(postgres, f"DROP DATABASE {name} WITH (FORCE)")


def _address(postgres: str, name: str) -> str:
    return make_url(postgres).set(database=name).render_as_string(hide_password=False)


async def _execute(address: str, statement: str) -> None:
    connection = await asyncpg.connect(address)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
