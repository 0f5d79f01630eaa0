"""An embedded PostgreSQL with many made calls, for proofs that measure what the service reads from it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg

from app.database.connections import migrate
from app.database.embedded import EmbeddedPostgres


@asynccontextmanager
async def filled_database(
    folder: Path, table: str, fill: Callable[[asyncpg.Connection], Awaitable[None]]
) -> AsyncIterator[str]:
    """Gives the address of the database in `folder`. It is filled if `table` is empty, and used again otherwise."""
    postgres = EmbeddedPostgres(folder)
    address = postgres.start()
    try:
        await migrate(address)
        connection = await asyncpg.connect(address)
        if not await connection.fetchval(f"SELECT EXISTS (SELECT FROM {table})"):
            await fill(connection)
        await connection.close()
        yield address
    finally:
        postgres.stop()
