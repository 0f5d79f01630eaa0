"""Runs the migrations.

The service runs this when it starts, and operators can run `alembic upgrade head` by hand. Processes that start at the
same time migrate one after the other, because each takes a lock in the database. Each migration has a transaction of
its own, so that none keeps a table locked while the next one works. If a newer version made the schema, an upgrade to
head changes nothing.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, text
from sqlmodel import SQLModel

import app.access.audit
import app.access.models
import app.analysis.definition_models
import app.analysis.models
import app.control.models
import app.deliveries.models
import app.jobs.models
import app.jobs.upkeep.usage
import app.live.models
import app.recording_batches.models
import app.search.models  # noqa: F401  (defines the tables)
from alembic import context
from app.database import schema
from app.database.address import Address
from app.database.connections import MIGRATION_LOCK, open_engine
from app.settings import SettingsError, load_settings


def run(connection: Connection) -> None:
    with _alone(connection):
        context.configure(
            connection=connection,
            target_metadata=SQLModel.metadata,
            compare_type=True,
            compare_server_default=True,
            transaction_per_migration=True,
        )
        has_nothing_to_do = _upgrades_to_head() and _is_newer(connection)
        connection.commit()  # otherwise the migrations would join the transaction of these reads
        if not has_nothing_to_do:
            context.run_migrations()


@contextmanager
def _alone(connection: Connection) -> Iterator[None]:
    """Holds the lock of migrations, which outlives their transactions and ends with the connection at the latest."""
    key = {"key": MIGRATION_LOCK}
    connection.execute(text("SELECT pg_advisory_lock(:key)"), key)
    connection.commit()
    try:
        yield
    finally:
        connection.rollback()
        connection.execute(text("SELECT pg_advisory_unlock(:key)"), key)
        connection.commit()


def _upgrades_to_head() -> bool:
    try:
        return context.get_revision_argument() == context.get_head_revision()
    except KeyError:  # a command without a target revision, like `check`
        return False


def _is_newer(connection: Connection) -> bool:
    revisions = context.get_context().get_current_heads()
    return schema.is_newer(schema.read(connection, revisions), context.script)


def _configured() -> Address | None:
    try:
        return load_settings().database_url
    except SettingsError as error:
        raise SystemExit(str(error)) from None


async def main() -> None:
    address = context.config.attributes.get("address") or _configured()
    if address is None:
        raise SystemExit("CALLSCRIBE_DATABASE_URL: set it to migrate by hand; the service migrates when it starts")
    engine = open_engine(address)
    try:
        async with engine.connect() as connection:
            await connection.run_sync(run)
    finally:
        await engine.dispose()


asyncio.run(main())
