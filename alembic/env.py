"""Runs the migrations.

The service runs this when it starts, and operators can run `alembic upgrade head` by hand. Processes that start at the
same time migrate one after the other, because each takes a lock in the database. If a newer version made the schema, an
upgrade to head changes nothing.
"""

import asyncio

from sqlalchemy import Connection, text
from sqlmodel import SQLModel

import app.access.audit
import app.access.models
import app.control.models
import app.deliveries.models
import app.jobs.models
import app.jobs.usage
import app.recording_batches.models
import app.search.models  # noqa: F401  (defines the tables)
from alembic import context
from app.database import schema
from app.database.address import Address
from app.database.connections import MIGRATION_LOCK, open_engine
from app.settings import SettingsError, load_settings


def run(connection: Connection) -> None:
    context.configure(
        connection=connection, target_metadata=SQLModel.metadata, compare_type=True, compare_server_default=True
    )
    with context.begin_transaction():
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
        if not (_upgrades_to_head() and _is_newer(connection)):
            context.run_migrations()


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
