"""What many tests share: an embedded PostgreSQL, and databases cloned from a migrated template."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest
from sqlalchemy import make_url

from app.db import Database, EmbeddedPostgres, migrate


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of an embedded PostgreSQL that lives as long as the test session."""
    embedded = EmbeddedPostgres(tmp_path_factory.mktemp("postgres") / "server")
    yield embedded.start()
    embedded.stop()


@pytest.fixture(scope="session")
async def template(postgres: str) -> str:
    """Name of a database with the newest schema and no rows, to clone."""
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


@asynccontextmanager
async def clone(postgres: str, template: str) -> AsyncIterator[str]:
    """Address of a fresh copy of `template`, dropped at the end of the block."""
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
