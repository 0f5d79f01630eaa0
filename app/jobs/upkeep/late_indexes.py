"""Makes indexes of the list that a migration left out, because they would have locked a large table for too long.

PostgreSQL makes them beside other work (CONCURRENTLY), which is not possible in a migration's transaction. Until they
are there, filters of the list are slow and right.
"""

import asyncpg
import structlog
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex
from sqlmodel import SQLModel

from app.database.connections import Database

NAMES = (
    "transcription_of_tenant",
    "transcription_of_tenant_by_status",
    "transcription_of_tenant_by_language",
    "transcription_of_tenant_by_external_id",
    "transcription_by_metadata",
)
REPLACED = ("transcription_by_status", "transcription_by_external_id")
LOCK = 0x696E6478  # "indx": one process makes them at a time
LONGEST_SECONDS = 6 * 3600.0

_VALID = "SELECT relname FROM pg_class JOIN pg_index ON indexrelid = oid WHERE relname = ANY($1) AND indisvalid"

log = structlog.stdlib.get_logger("callscribe.db")


async def make_missing(database: Database) -> bool:
    """Make the indexes that are missing, and then remove those that they replace.

    Returns whether all are there. If another process makes them, that is False.
    """
    connection = await database.connect_raw()
    try:
        known = {row["relname"] for row in await connection.fetch(_VALID, [*NAMES, *REPLACED])}
        missing, replaced = [name for name in NAMES if name not in known], known.intersection(REPLACED)
        if not missing and not replaced:
            return True
        if not await connection.fetchval("SELECT pg_try_advisory_lock($1)", LOCK):
            return False
        await _make(connection, missing)
        for name in sorted(replaced):
            await connection.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}", timeout=LONGEST_SECONDS)
        return True
    finally:
        await connection.close()  # which gives up the lock


async def _make(connection: "asyncpg.Connection[asyncpg.Record]", names: list[str]) -> None:
    indexes = {str(index.name): index for index in SQLModel.metadata.tables["transcription"].indexes}
    for name in names:
        log.info("an index is being made; the service goes on meanwhile", index=name)
        create = str(CreateIndex(indexes[name]).compile(dialect=postgresql.dialect()))  # type: ignore[no-untyped-call]
        # An attempt that was interrupted leaves an index that is not valid.
        await connection.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}", timeout=LONGEST_SECONDS)
        concurrently = create.replace("CREATE INDEX", "CREATE INDEX CONCURRENTLY", 1)
        await connection.execute(concurrently, timeout=LONGEST_SECONDS)
        log.info("the index is made", index=name)
