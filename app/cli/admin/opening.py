"""Opens the service's database for commands of operators, beside a service that runs. They see all tenants.

The parts of the service are slow to import, so the functions import them when they run.
"""

import asyncio
import getpass
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import structlog

from app.cli.preparation import checked_settings
from app.settings import Settings, SettingsError
from app.telemetry import set_up_logging

if TYPE_CHECKING:
    from app.database.connections import Database
    from app.jobs.claims.ending import AtEnd
    from app.jobs.upkeep.retention import Retention
    from app.recording_batches.retrying import Retries

Result = TypeVar("Result")

log = structlog.stdlib.get_logger("callscribe.operator")


@dataclass(frozen=True)
class Hands:
    """What changes jobs as the service would. `retention` erases recordings."""

    database: "Database"
    retention: "Retention"
    at_end: "AtEnd"
    retries: "Retries"


def actor() -> str:
    """Who runs the command, for rows and the audit."""
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):  # a container may run as a user without a name
        return "cli"


def note(event: str, **facts: Any) -> None:
    """Write to the log, which is standard error, that an operator has changed something."""
    log.info(event, by=actor(), **facts)


def in_database(work: Callable[[Any], Awaitable[Result]]) -> Result:
    """Runs `work` in one transaction on the service's database, which may be new."""

    async def run(_: Settings, database: "Database") -> Result:
        async with database.transaction() as session:
            return await work(session)

    return _run(run, may_be_new=True)


def with_database(work: Callable[["Database"], Awaitable[Result]]) -> Result:
    """Runs `work` with the database of a service that has run before. Raises SettingsError if there is none."""
    return _run(lambda _, database: work(database))


def with_hands(work: Callable[[Hands], Awaitable[Result]]) -> Result:
    """Runs `work` with the database and the recordings of a service that has run before."""

    async def run(settings: Settings, database: "Database") -> Result:
        async with _hands(settings, database) as hands:
            return await work(hands)

    return _run(run)


def _run(work: Callable[[Settings, "Database"], Awaitable[Result]], *, may_be_new: bool = False) -> Result:
    settings = checked_settings()
    if not may_be_new and settings.database_url is None and not (settings.data_dir / "postgres").exists():
        raise SettingsError(f"CALLSCRIBE_DATA_DIR: {settings.data_dir} has no database; set it to the service's folder")
    set_up_logging(settings.log_format, settings.log_level)
    return asyncio.run(_with_database(settings, work))


async def _with_database(settings: Settings, work: Callable[[Settings, "Database"], Awaitable[Result]]) -> Result:
    from app.database.connections import DatabaseUnavailable
    from app.database.embedded import open_database

    try:
        async with open_database(settings.database_url, settings.data_dir) as database:
            return await work(settings, database)
    except DatabaseUnavailable as error:
        raise SettingsError(str(error)) from None


@asynccontextmanager
async def _hands(settings: Settings, database: "Database") -> AsyncIterator[Hands]:
    from app.control.switches import Switches
    from app.database.notifications import Signals
    from app.making import at_end_of, neighbours_of, open_fetcher, open_intake, open_store, retention_of
    from app.network.guard import NetworkGuard
    from app.recording_batches.retrying import Retries
    from app.storage.disk import FreeSpace
    from app.storage.workspace import Workspace

    guard, free_space = NetworkGuard(settings.allowed_networks), FreeSpace(settings.disks, settings.min_free_bytes)
    with closing(Workspace(settings.data_dir / "work")) as workspace:
        store = await open_store(settings.audio_place, workspace, database)
        fetcher = open_fetcher(settings, guard, store, free_space)
        switches, neighbours = Switches(database, Signals(database)), neighbours_of(settings)
        async with database.transaction() as session:
            await neighbours.load(session)
        intake = open_intake(settings, database, guard, store, fetcher, free_space, switches, neighbours.shares)
        retention = retention_of(settings, database, store, free_space)
        yield Hands(database, retention, at_end_of(settings, retention), Retries(database, store, fetcher, intake))
