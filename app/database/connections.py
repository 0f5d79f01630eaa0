"""Connects to PostgreSQL, opens transactions and runs migrations.

It also decides what an error of the driver means: the database is away, it refused a statement, or the data is bad.
The tables belong to the rooms that use them. The only one that this module reads is `transcription`, in `check`.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import structlog
from alembic.config import Config
from sqlalchemy import event, text
from sqlalchemy.engine import AdaptedConnection, ExceptionContext
from sqlalchemy.exc import DBAPIError, InvalidatePoolError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry, NullPool, PoolProxiedConnection
from sqlmodel.ext.asyncio.session import AsyncSession

from alembic import command
from app.database.address import Address, parse_address
from app.database.connecting import ABSENCE, APPLICATION, Connector, encoding_of, first_line, is_pooled_by_transaction
from app.database.schema import SchemaTooNew

WAIT_SECONDS = 2.0
ANSWER_SECONDS = 5.0
STATEMENT_SECONDS = 20.0  # much longer than any statement takes, and less than a lease
POOL_SIZE = 5
DRIVER = "postgresql+asyncpg://"

PACKAGED_MIGRATIONS = Path(__file__).with_name("migrations")
SOURCE_MIGRATIONS = Path(__file__).parents[2] / "alembic"
LOCK_NOT_AVAILABLE = "55P03"  # SQLSTATE
READ_ONLY = "25006"
LOCK_PAUSE_SECONDS = 20.0
MIGRATION_LOCK = 0x63616C6C  # "call": the advisory lock that replicas take to migrate one after the other


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
    return _sqlstate_of(error.orig) if isinstance(error, DBAPIError) else ""


def _sqlstate_of(error: BaseException | None) -> str:
    sqlstate = getattr(error, "sqlstate", None)
    return sqlstate if isinstance(sqlstate, str) else ""


# What connecting raises when a repetition would be refused too.
REFUSALS = (
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.ClientConfigurationError,
    ssl.SSLError,
)
BROKEN_OFF = (ssl.SSLEOFError, ssl.SSLZeroReturnError)  # the server, or a relay before it, is restarting
NO_SCHEMA, NO_RIGHT = "3F000", "42501"
REFUSED_TLS = "rejected SSL upgrade"  # the driver's words
UNENCRYPTED = "it offers no encryption, which sslmode asks for"
UTF8 = "UTF8"  # a database of another encoding refuses most languages
POOLED = (
    "a pooler in transaction mode is in front of it, and gives this service's sessions to other clients. Set the "
    "pooler to session mode, or use the host and port of the database itself"
)

log = structlog.stdlib.get_logger("callscribe.db")


class DatabaseUnavailable(Exception):
    """The configured database refuses this service. The message is one line, without its password."""


def _close_if_broken(context: ExceptionContext) -> None:
    """Called when a statement fails. If its answer was late or out of order, the pool closes the connection.

    The connection is not even used to roll back, because it may never answer. The pool also closes a connection to a
    server that became a standby, so that the next connection leads to the new primary.
    """
    error = context.original_exception
    if isinstance(error, TimeoutError | asyncpg.InternalClientError) or _sqlstate_of(error) == READ_ONLY:
        context.is_disconnect = True


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
        self, address: str | Address, *, pool_size: int = POOL_SIZE, statement_seconds: float = STATEMENT_SECONDS
    ) -> None:
        self.address = parse_address(address)
        self._connector = Connector(self.address, statement_seconds=statement_seconds)
        self.engine: AsyncEngine = create_async_engine(
            DRIVER,
            async_creator=self._connector.connect,
            pool_size=pool_size,
            max_overflow=pool_size,
            pool_timeout=10,
            hide_parameters=True,  # otherwise the text of an error would put a transcript into the log
        )
        event.listen(self.engine.sync_engine, "handle_error", _close_if_broken)
        event.listen(self.engine.sync_engine, "checkout", _require_answer)

    @asynccontextmanager
    async def second_pool(self) -> AsyncIterator["Database"]:
        """Open a second pool of connections to the same PostgreSQL, for work that must not use up this one.

        The pool is closed at the end of the block.
        """
        database = Database(self.address)
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
            SELECT DISTINCT split_part(application_name, :application, 2) FROM pg_stat_activity
            WHERE datname = current_database() AND strpos(application_name, :application) > 0
        """
        async with self.engine.connect() as connection:
            return set((await connection.execute(text(statement), {"application": APPLICATION})).scalars())

    async def connect_raw(self) -> "asyncpg.Connection[asyncpg.Record]":
        """Open a connection outside the pool, for LISTEN. The caller closes it."""
        return await self._connector.connect()

    async def close(self) -> None:
        await self.engine.dispose()


def open_engine(address: str | Address) -> AsyncEngine:
    """Returns an engine that opens a connection for each use, for migrations. A statement may take any time."""
    connector = Connector(parse_address(address), statement_seconds=None)
    return create_async_engine(DRIVER, async_creator=connector.connect, poolclass=NullPool)


def alembic_config(address: str | Address) -> Config:
    """Returns Alembic's configuration for the database at `address`.

    The migrations are at the top of the source tree. In the wheel they are inside this package.
    """
    folder = PACKAGED_MIGRATIONS if PACKAGED_MIGRATIONS.is_dir() else SOURCE_MIGRATIONS
    config = Config()
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    config.attributes["address"] = address
    return config


async def migrate(address: str | Address) -> None:
    """Bring the schema to the newest revision. Replicas that start at the same time do so one after the other.

    Waits without a limit while the database is down, starting or out of connections, and while a backup, for example,
    holds a table that must be altered. A newer schema that this version can work with is left alone (`schema`).

    Raises DatabaseUnavailable if the database refuses the login or the encryption, if a pooler before it gives sessions
    away, if its encoding is not UTF8, or if this version is too old for its schema. Raises an OSError for migration
    files that cannot be read.
    """
    parsed = parse_address(address)
    if parsed.ignored:
        log.warning("parts of the database's address have no effect here", parameters=list(parsed.ignored))
    while True:
        pause = WAIT_SECONDS
        try:
            connector = Connector(parsed, statement_seconds=STATEMENT_SECONDS)
            if await is_pooled_by_transaction(connector):
                raise DatabaseUnavailable(f"the database {parsed} cannot be used: {POOLED}")
            if (encoding := await encoding_of(connector)) != UTF8:
                raise DatabaseUnavailable(
                    f"the database {parsed} cannot be used: its encoding is {encoding}, not {UTF8}"
                )
            return await asyncio.to_thread(command.upgrade, alembic_config(address), "head")
        except SchemaTooNew as error:
            raise DatabaseUnavailable(f"the database {parsed} cannot be used: {error}") from error
        except DATABASE_TROUBLE as error:
            if isinstance(error, OSError) and error.filename is not None:  # a migration's file cannot be read
                raise
            if _is_final(error):
                raise DatabaseUnavailable(f"the database {parsed} cannot be used: {reason(error)}") from error
            if _waited_for_a_lock(error):  # while a migration waits, all users of the table wait too
                pause = LOCK_PAUSE_SECONDS
            elif not (is_absence(error) or _sqlstate(error) == READ_ONLY):
                raise
            log.warning("waiting for the database", database=str(parsed), error=reason(error))
        await asyncio.sleep(pause)


def _is_final(error: BaseException) -> bool:
    """Returns whether no wait helps: the operator has to change the address, the server or the user's rights."""
    refused = isinstance(error, REFUSALS) and not isinstance(error, BROKEN_OFF)
    return refused or REFUSED_TLS in str(error) or _sqlstate(error) in (NO_SCHEMA, NO_RIGHT)


def reason(error: BaseException) -> str:
    """Returns why the database cannot be used, in words for its operator."""
    if _waited_for_a_lock(error):
        return "a table is in use, by a backup or a long transaction"
    if isinstance(error, asyncpg.TargetServerAttributeNotMatched) or _sqlstate(error) == READ_ONLY:
        return "it cannot be written, as a standby or by its default_transaction_read_only"
    if REFUSED_TLS in str(error):
        return UNENCRYPTED
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    return first_line(cause).removeprefix(f"{type(cause)}: ")


def _waited_for_a_lock(error: BaseException) -> bool:
    return _sqlstate(error) == LOCK_NOT_AVAILABLE
