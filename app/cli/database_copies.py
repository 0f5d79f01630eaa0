"""`callscribe database backup`, `restore` and `downgrade`.

They work for the embedded PostgreSQL and for the operator's own. They never migrate upwards: the service does that when
it starts.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.preparation import checked_settings
from app.settings import Settings, SettingsError

if TYPE_CHECKING:
    from app.database.address import Address
    from app.database.connections import Database

File = Annotated[str, typer.Argument(help="The file, or - for standard output or input.", metavar="FILE")]
OURS = "callscribe-copy"
TABLES = """
    SELECT count(*) FROM pg_class
    WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p', 'v', 'm')
"""
SESSIONS = """
    SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
        AND strpos(application_name, 'callscribe@') > 0 AND strpos(application_name, :ours) = 0
"""


def backup(file: File) -> None:
    """Write the database to a file, also while the service runs.

    The file has all jobs, transcripts, keys' hashes and secrets, so only its owner can read it.
    Recordings are not in it: see docs/backup-and-upgrade.md.
    """
    asyncio.run(_backup(checked_settings(), file))
    _done(f"the database is in {file}", file)


def restore(file: File) -> None:
    """Read a file of `backup` into a database without tables, before the service starts. All of it or nothing."""
    asyncio.run(_restore(checked_settings(), file))
    typer.echo(
        "callscribe: the database is restored. Put the recordings back before you start the service. If other programs "
        "read the table of calls, run callscribe database reader again",
        err=True,
    )


def downgrade(
    revision: Annotated[str, typer.Argument(help="The newest revision that the older version knows.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Take the schema back to what an older version knows. It deletes what the older version cannot keep.

    Run it with the newer version while no process of the service runs. Then start the older version.
    """
    if not yes:
        typer.confirm("Tables and columns of the newer version are deleted. Is there a backup?", abort=True)
    asyncio.run(_downgrade(checked_settings(), revision))
    typer.echo(f"callscribe: the schema is {revision}. Start the older version now", err=True)


def _done(text: str, file: str) -> None:
    if file != "-" or sys.stderr.isatty():
        typer.echo(f"callscribe: {text}", err=True)


@asynccontextmanager
async def _opened(settings: Settings, *, may_be_new: bool = False) -> AsyncIterator[tuple["Address", "Database"]]:
    """The address of the database and connections to it, without a migration. Raises SettingsError."""
    from app.database.address import parse_address
    from app.database.connections import DATABASE_TROUBLE, Database, DatabaseUnavailable, reason
    from app.database.copying import CopyFailed
    from app.database.embedded import EmbeddedPostgres
    from app.process.threads import in_daemon_thread

    address, embedded = settings.database_url, None
    try:
        if address is None:
            folder = settings.data_dir / "postgres"
            if not (may_be_new or await asyncio.to_thread((folder / "PG_VERSION").exists)):
                raise SettingsError(f"CALLSCRIBE_DATA_DIR: there is no database in {folder}")
            embedded = EmbeddedPostgres(folder)
            address = parse_address(await in_daemon_thread(embedded.start, "start-postgres"))
        address = replace(address, application=OURS)
        database = Database(address, pool_size=1)
        try:
            yield address, database
        except DATABASE_TROUBLE as error:
            raise SettingsError(f"the database {address} cannot be used: {reason(error)}") from None
        except CopyFailed as error:
            raise SettingsError(f"the database {address}: {error}") from None
        finally:
            await database.close()
    except DatabaseUnavailable as error:
        raise SettingsError(str(error)) from None
    finally:
        if embedded is not None:
            await in_daemon_thread(embedded.stop, "stop-postgres")


async def _backup(settings: Settings, file: str) -> None:
    from app.database.copying import dump

    async with _opened(settings) as (address, database):
        await dump(address, await _schema(database), file)


async def _restore(settings: Settings, file: str) -> None:
    from app.database.copying import load

    if file != "-" and not await asyncio.to_thread(Path(file).is_file):
        raise SettingsError(f"{file}: there is no such file")
    async with _opened(settings, may_be_new=True) as (address, database):
        schema = await _schema(database)
        if await _tables(database):
            raise SettingsError(
                f"the database {address} has tables already, so nothing was restored: use a new database, or with the "
                f"embedded one stop the service and move {settings.data_dir / 'postgres'} away"
            )
        await load(address, schema, file)
        if not await _tables(database):
            raise SettingsError(f"{file} has no tables of a schema {schema!r}, so nothing was restored")


async def _schema(database: "Database") -> str:
    from sqlalchemy import text

    async with database.engine.connect() as connection:
        schema = (await connection.execute(text("SELECT current_schema()"))).scalar_one()
    if schema is None:
        raise SettingsError("CALLSCRIBE_DATABASE_URL: the schema of its search_path does not exist; make it first")
    return str(schema)


async def _tables(database: "Database") -> int:
    from sqlalchemy import text

    async with database.engine.connect() as connection:
        return int((await connection.execute(text(TABLES))).scalar_one())


async def _downgrade(settings: Settings, revision: str) -> None:
    from alembic.script import ScriptDirectory
    from alembic.script.revision import RevisionError
    from sqlalchemy import text

    from alembic import command
    from app.database.connections import alembic_config

    async with _opened(settings) as (address, database):
        config = alembic_config(address)
        async with database.engine.connect() as connection:
            running = (await connection.execute(text(SESSIONS), {"ours": OURS})).scalar_one()
            now = (await connection.execute(text("SELECT version_num FROM alembic_version"))).scalar_one()
        if running:
            raise SettingsError("processes of the service are connected to the database: stop all of them first")
        scripts = ScriptDirectory.from_config(config)
        try:
            older = [script.revision for script in scripts.iterate_revisions(now, "base")][1:]
        except RevisionError:
            raise SettingsError(f"this version does not know the schema {now}: use the version that made it") from None
        if revision not in older:
            raise SettingsError(f"{revision!r} is no older revision: choose one of {', '.join(older)}")
        await asyncio.to_thread(command.downgrade, config, revision)
