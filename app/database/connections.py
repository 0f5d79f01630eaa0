"""Connects to PostgreSQL, opens transactions and runs migrations.

It also decides what an error of the driver means: the database is away, it refused a statement, or the data is bad.
The tables belong to the rooms that use them. The only one that this module reads is `transcription`, in `check`.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import structlog
from alembic.config import Config
from sqlalchemy import URL, event, make_url, text
from sqlalchemy.engine import AdaptedConnection, ExceptionContext
from sqlalchemy.exc import DBAPIError, InvalidatePoolError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection
from sqlmodel.ext.asyncio.session import AsyncSession

from alembic import command
from app.database.schema import SchemaTooNew

WAIT_SECONDS = 2.0
CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 5.0
STATEMENT_SECONDS = 20.0  # much longer than any statement takes, and less than a lease
POOL_SIZE = 5
FROZEN_SECONDS = 5.0  # the server waits so much longer than a client that is alive
APPLICATION = "callscribe@"
SESSION = {
    # A process that is stopped in the middle of a transaction would otherwise keep its rows locked until it goes on.
    "idle_in_transaction_session_timeout": "15s",
    # PostgreSQL keeps 63 bytes.
    "application_name": f"{APPLICATION}{socket.gethostname()}"[:63],
}

PACKAGED_MIGRATIONS = Path(__file__).with_name("migrations")
SOURCE_MIGRATIONS = Path(__file__).parents[2] / "alembic"
LOCK_NOT_AVAILABLE = "55P03"  # SQLSTATE
LOCK_PAUSE_SECONDS = 20.0
MIGRATION_LOCK = 0x63616C6C  # "call": the advisory lock that replicas take to migrate one after the other


def asyncpg_url(address: str) -> URL:
    """Translate a `postgresql://` address for SQLAlchemy's asyncpg dialect.

    libpq's `sslmode` becomes asyncpg's `ssl`. `channel_binding` is left out, because asyncpg does not know it.
    """
    url = make_url(address).set(drivername="postgresql+asyncpg")
    sslmode = url.query.get("sslmode")
    url = url.difference_update_query(["sslmode", "channel_binding"])
    return url.update_query_dict({"ssl": sslmode}) if sslmode else url


# What a database call raises when the database is away, busy or restarting, or refuses the statement. SQLAlchemy does
# not wrap asyncpg's own errors while it connects, and never wraps errors of asyncpg's protocol, which come when the
# server is closing the connection. A refused connection is a bare OSError, and a late answer a bare TimeoutError. So a
# `try` block for these must contain nothing but database calls: otherwise an error of a file or of the store in it
# would be taken for the database's.
DATABASE_TROUBLE = (
    DBAPIError,
    PoolTimeoutError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
)
# What connecting raises when the database is down, starts, stops or has no connection to spare.
ABSENCE = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InternalClientError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
)


def is_absence(error: BaseException) -> bool:
    """Returns whether the error of a database call means that the database cannot be reached at the moment."""
    return error.connection_invalidated if isinstance(error, DBAPIError) else isinstance(error, ABSENCE)


def is_unexpected(error: BaseException) -> bool:
    """Returns whether the driver itself was surprised by the error.

    Usually a connection broke. It may also be a mistake in our code, so callers log the traceback.
    """
    return isinstance(error, asyncpg.InternalClientError)


BAD_DATA_CLASSES = ("22", "23")  # of SQLSTATE: bad data, broken constraint
REFUSED_CLASSES = (*BAD_DATA_CLASSES, "42")  # wrong statement, missing right: the schema or its owner is at fault


def is_refusal(error: BaseException) -> bool:
    """Returns whether the database understood the statement and refused it, so that a retry would not help now."""
    return _sqlstate(error).startswith(REFUSED_CLASSES)


def is_bad_data(error: BaseException) -> bool:
    """Returns whether the database will never accept the data of the statement, because the data itself is at fault."""
    return _sqlstate(error).startswith(BAD_DATA_CLASSES)


def _sqlstate(error: BaseException) -> str:
    sqlstate = getattr(error.orig, "sqlstate", None) if isinstance(error, DBAPIError) else None
    return sqlstate if isinstance(sqlstate, str) else ""


log = structlog.stdlib.get_logger("callscribe.db")


class DatabaseUnavailable(Exception):
    """The configured database refuses this service. The message is one line, without its password."""


def _close_if_broken(context: ExceptionContext) -> None:
    """Called when a statement fails. If its answer was late or out of order, the pool closes the connection.

    The connection is not even used to roll back, because it may never answer.
    """
    if isinstance(context.original_exception, TimeoutError | asyncpg.InternalClientError):
        context.is_disconnect = True


def _limit_transactions(seconds: float) -> Callable[[AdaptedConnection, ConnectionPoolEntry], None]:
    """Returns a listener that makes PostgreSQL end a session if a transaction of it takes longer than `seconds`.

    `idle_in_transaction_session_timeout` does not cover a process that is stopped in the middle of a statement, so its
    rows would stay locked. Servers before PostgreSQL 17 have no such limit, and stay without it.
    """
    limit = "SELECT set_config(name, $1, false) FROM pg_settings WHERE name = 'transaction_timeout'"

    def set_limit(connection: AdaptedConnection, _: ConnectionPoolEntry) -> None:
        connection.run_async(lambda raw: raw.execute(limit, f"{round(1000 * seconds)}ms"))

    return set_limit


def _require_answer(connection: AdaptedConnection, record: ConnectionPoolEntry, _: PoolProxiedConnection) -> None:
    """Called when a pooled connection is checked out. Runs `SELECT 1` with a timeout, unless the connection is new.

    `pool_pre_ping` does not replace a connection that never answers (docs/decisions/0018). This raises
    InvalidatePoolError instead, so that the pool opens a new connection.
    """
    is_new = not record.info.get("used")
    record.info["used"] = True
    if is_new:
        return
    try:
        connection.run_async(lambda raw: raw.execute("SELECT 1", timeout=ANSWER_SECONDS))
    except DATABASE_TROUBLE as error:
        raise InvalidatePoolError from error


class Database:
    """A pool of connections to one PostgreSQL: `pool_size` that it keeps open, and as many more while they are needed.

    If all of them are in use, a transaction waits up to ten seconds for one. A statement may take `statement_seconds`.
    """

    def __init__(
        self, address: str | URL, *, pool_size: int = POOL_SIZE, statement_seconds: float = STATEMENT_SECONDS
    ) -> None:
        self.url = asyncpg_url(address) if isinstance(address, str) else address
        self.engine: AsyncEngine = create_async_engine(
            self.url,
            pool_size=pool_size,
            max_overflow=pool_size,
            pool_timeout=10,
            hide_parameters=True,  # otherwise the text of an error would put a transcript into the log
            connect_args={
                "server_settings": SESSION,
                "timeout": CONNECT_SECONDS,
                "command_timeout": statement_seconds,
            },
        )
        event.listen(self.engine.sync_engine, "handle_error", _close_if_broken)
        event.listen(self.engine.sync_engine, "connect", _limit_transactions(statement_seconds + FROZEN_SECONDS))
        event.listen(self.engine.sync_engine, "checkout", _require_answer)

    @asynccontextmanager
    async def second_pool(self) -> AsyncIterator["Database"]:
        """Open a second pool of connections to the same PostgreSQL, for work that must not use up this one.

        The pool is closed at the end of the block.
        """
        database = Database(self.url)
        try:
            yield database
        finally:
            await database.close()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncSession]:
        """Open a session in a transaction, which is committed at the end of the block and rolled back on an exception.

        Entering and leaving the block are database calls too, and raise DATABASE_TROUBLE.
        """
        async with AsyncSession(self.engine, expire_on_commit=False) as session, session.begin():
            yield session

    async def check(self) -> None:
        """Read from a table. Raises one of DATABASE_TROUBLE if the database cannot be used."""
        async with self.engine.connect() as connection:
            await connection.execute(text("SELECT 1 FROM transcription LIMIT 1"))

    async def machines(self) -> set[str]:
        """Returns the names of the hosts on which a process of this service is connected to the database."""
        statement = """
            SELECT DISTINCT application_name FROM pg_stat_activity
            WHERE datname = current_database() AND starts_with(application_name, :application)
        """
        async with self.engine.connect() as connection:
            names = (await connection.execute(text(statement), {"application": APPLICATION})).scalars()
            return {name.removeprefix(APPLICATION) for name in names}

    async def connect_raw(self) -> "asyncpg.Connection[asyncpg.Record]":
        """Open a connection outside the pool, for LISTEN. The caller closes it."""
        options: dict[str, Any] = {**self.url.query}
        return await asyncpg.connect(
            host=options.pop("host", None) or self.url.host,
            port=options.pop("port", None) or self.url.port,
            user=self.url.username,
            password=self.url.password,
            database=self.url.database,
            ssl=options.pop("ssl", None),
            timeout=CONNECT_SECONDS,
            server_settings=SESSION,
        )

    async def close(self) -> None:
        await self.engine.dispose()


def alembic_config(address: str) -> Config:
    """Returns Alembic's configuration for the database at `address`.

    The migrations are at the top of the source tree. In the wheel they are inside this package.
    """
    folder = PACKAGED_MIGRATIONS if PACKAGED_MIGRATIONS.is_dir() else SOURCE_MIGRATIONS
    config = Config()
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    config.attributes["url"] = asyncpg_url(address)
    return config


async def migrate(address: str) -> None:
    """Bring the schema to the newest revision. Replicas that start at the same time do so one after the other.

    Waits without a limit while the database is down, starting or out of connections, and while a backup, for example,
    holds a table that must be altered. A newer schema that this version can work with is left alone (`schema`).

    Raises DatabaseUnavailable if the database refuses the login, or if this version is too old for its schema. Raises
    an OSError for migration files that cannot be read.
    """
    shown = asyncpg_url(address).render_as_string()
    while True:
        pause = WAIT_SECONDS
        try:
            return await asyncio.to_thread(command.upgrade, alembic_config(address), "head")
        except (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError, SchemaTooNew) as error:
            raise DatabaseUnavailable(f"the database {shown} cannot be used: {error}") from error
        except DATABASE_TROUBLE as error:
            if isinstance(error, OSError) and error.filename is not None:  # a migration's file cannot be read
                raise
            reason: object = error
            if _waited_for_a_lock(error):  # while a migration waits, all users of the table wait too
                pause, reason = LOCK_PAUSE_SECONDS, "a table is in use, by a backup or a long transaction"
            elif not is_absence(error):
                raise
            log.warning("waiting for the database", database=shown, error=str(reason) or type(error).__name__)
        await asyncio.sleep(pause)


def _waited_for_a_lock(error: BaseException) -> bool:
    return isinstance(error, DBAPIError) and getattr(error.orig, "sqlstate", None) == LOCK_NOT_AVAILABLE
