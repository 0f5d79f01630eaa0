"""Opens connections to PostgreSQL: to the first host of an address that answers and can write.

The settings of a session are sent after the login, because a pooler such as PgBouncer refuses most of them during it.
"""

import asyncio
import socket
import ssl
from typing import Any, TypeAlias

import asyncpg

from app.database.address import Address, Host

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
APPLICATION = "callscribe@"
IDLE_LIMIT = "15s"
FROZEN_SECONDS = 5.0  # the server waits so much longer than a client that is alive
# The first limit covers a process that is stopped in the middle of a transaction: it would otherwise keep its rows
# locked until it goes on. The second one covers a process that is stopped in the middle of a statement. Servers before
# PostgreSQL 17 do not have the second one, and stay without it.
SETTINGS = """
    SELECT set_config('application_name', $1, false), set_config('idle_in_transaction_session_timeout', $2, false),
        (SELECT set_config(name, $3, false) FROM pg_settings WHERE name = 'transaction_timeout')
"""
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


class Connector:
    """Connects to the hosts of one address, beginning with the host that accepted the last connection.

    A statement may take `statement_seconds`. PostgreSQL ends a session if a transaction takes clearly longer.
    """

    def __init__(self, address: Address, *, statement_seconds: float | None) -> None:
        self.address = address
        self._statement_seconds = statement_seconds
        self._hosts = address.hosts

    async def connect(self, **_: Any) -> Connection:
        """Returns a connection, which the caller closes. Raises the error of the last host if none accepts it."""
        *others, last = self._hosts
        for host in others:
            try:
                return await self._connect_to(host)
            except ABSENCE:
                continue
        return await self._connect_to(last)

    async def _connect_to(self, host: Host) -> Connection:
        address = self.address
        connection: Connection = await asyncpg.connect(
            address.dsn(),
            host=host.name,
            port=host.port,
            user=address.user,
            password=address.password,
            database=address.database,
            ssl=_trust_the_system(address),
            timeout=address.connect_seconds,
            command_timeout=self._statement_seconds,
            server_settings=dict(address.server_settings),
        )
        try:
            await connection.execute(SETTINGS, self._application(), IDLE_LIMIT, self._transaction_limit())
        except BaseException:
            connection.terminate()
            raise
        self._hosts = (host, *(other for other in self._hosts if other != host))
        return connection

    def _application(self) -> str:
        ours = session_name()
        given = self.address.application
        return (f"{given[: 62 - len(ours)]} {ours}" if given else ours)[:63]  # PostgreSQL keeps 63 bytes

    def _transaction_limit(self) -> str:
        seconds = self._statement_seconds
        return "0" if seconds is None else f"{round(1000 * (seconds + FROZEN_SECONDS))}ms"


def session_name() -> str:
    """Returns the end of a session's name, which has this machine's name for `Database.machines`."""
    return f"{APPLICATION}{socket.gethostname()}"


def _trust_the_system(address: Address) -> ssl.SSLContext | None:
    """Returns a context for `sslrootcert=system`, which the driver does not know. Like libpq, it verifies the host."""
    if address.parameters.get("sslrootcert") != "system":
        return None
    context = ssl.create_default_context()
    if certificate := address.parameters.get("sslcert"):
        password = address.parameters.get("sslpassword", "")
        context.load_cert_chain(certificate, address.parameters.get("sslkey"), lambda: password)
    return context


async def is_pooled_by_transaction(connector: Connector) -> bool:
    """Returns whether a pooler gives a session of this process to other clients when a transaction ends.

    In that case, a second session gets the server process of the first one while the first one is open but idle.
    """
    first, second = await connector.connect(), await connector.connect()
    try:
        async with first.transaction():
            process = await first.fetchval("SELECT pg_backend_pid()")
        async with second.transaction():
            return bool(await second.fetchval("SELECT pg_backend_pid()") == process)
    finally:
        await asyncio.gather(first.close(timeout=1), second.close(timeout=1), return_exceptions=True)
