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
NAME_BYTES = 63  # PostgreSQL keeps so many
FROZEN_SECONDS = 5.0  # the server waits so much longer than a client that is alive
SET = """
    SELECT set_config(name, value, false) FROM unnest($1::text[], $2::text[]) AS setting(name, value)
    WHERE name <> 'transaction_timeout' OR current_setting('server_version_num')::int >= 170000
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
# What a login or a setting raises if a repetition would raise it too.
MISTAKES = (
    ValueError,
    asyncpg.UndefinedObjectError,
    asyncpg.InvalidParameterValueError,
    asyncpg.InsufficientPrivilegeError,
    asyncpg.CantChangeRuntimeParamError,
)
NOT_SUPPORTED = "unsupported startup parameter"  # PgBouncer sends the same code when it is out of connections
NO_TRANSACTIONS = "statement pooling"
PROBES = 3


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
        """Raises ClientConfigurationError, which is part of DATABASE_TROUBLE, if the address itself is at fault."""
        try:
            connection = await self._log_in(host)
        except OSError:  # a certificate's error is a ValueError too
            raise
        except (*MISTAKES, asyncpg.ProtocolViolationError) as error:
            if isinstance(error, asyncpg.ProtocolViolationError) and NOT_SUPPORTED not in str(error):
                raise
            raise asyncpg.ClientConfigurationError(first_line(error)) from error
        self._hosts = (host, *(other for other in self._hosts if other != host))
        return connection

    async def _log_in(self, host: Host) -> Connection:
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
            target_session_attrs="read-write",
            server_settings={"options": address.options} if address.options else {},
        )
        try:
            settings = self._settings()
            await connection.execute(SET, list(settings), list(settings.values()))
        except BaseException:
            connection.terminate()
            raise
        return connection

    def _settings(self) -> dict[str, str]:
        """Returns the settings of each session. Those of the address come before our own.

        A process that is stopped in the middle of a transaction would keep its rows locked until it goes on. The first
        limit ends its session. The second limit does so in the middle of a statement. Servers before PostgreSQL 17 do
        not have the second limit, and stay without it.
        """
        seconds = self._statement_seconds
        limits = {
            "idle_in_transaction_session_timeout": IDLE_LIMIT,
            "transaction_timeout": "0" if seconds is None else f"{round(1000 * (seconds + FROZEN_SECONDS))}ms",
        }
        return {**limits, **self.address.settings, "application_name": self._application()}

    def _application(self) -> str:
        ours = session_name()
        given = (self.address.application or "")[: max(0, NAME_BYTES - 1 - len(ours))]
        return f"{given} {ours}".strip()[:NAME_BYTES]


def first_line(error: BaseException) -> str:
    """Returns an error's message without the details and hints that PostgreSQL adds."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def session_name() -> str:
    """Returns the end of a session's name, which has this machine's name for `Database.machines`."""
    return f"{APPLICATION}{socket.gethostname()}"


def _trust_the_system(address: Address) -> ssl.SSLContext | None:
    """Returns a context for `sslrootcert=system`, which the driver does not know. Like libpq, it verifies the host."""
    if address.parameters.get("sslrootcert") != "system":
        return None
    context = ssl.create_default_context()
    context.set_alpn_protocols(["postgresql"])
    if certificate := address.parameters.get("sslcert"):
        password = address.parameters.get("sslpassword", "")
        context.load_cert_chain(certificate, address.parameters.get("sslkey"), lambda: password)
    return context


async def is_pooled_by_transaction(connector: Connector) -> bool:
    """Returns whether a pooler gives a session of this process to other clients when a transaction ends.

    In that case, two sessions that are open at the same time get the same server process, or one session gets several.
    """
    first, second = await connector.connect(), await connector.connect()
    try:
        seen = [{await _process_of(session) for _ in range(PROBES)} for session in (first, second)]
    except asyncpg.PostgresError as error:
        if NO_TRANSACTIONS in str(error):
            return True
        raise
    finally:
        await asyncio.gather(first.close(timeout=1), second.close(timeout=1), return_exceptions=True)
    return len(seen[0] | seen[1]) != 2


async def encoding_of(connector: Connector) -> str:
    """Returns the encoding of the database, such as UTF8."""
    session = await connector.connect()
    try:
        return str(await session.fetchval("SHOW server_encoding"))
    finally:
        await asyncio.gather(session.close(timeout=1), return_exceptions=True)


async def _process_of(session: Connection) -> int:
    async with session.transaction():
        return int(await session.fetchval("SELECT pg_backend_pid()"))
