"""Checks that the database answers, and that the service can work with it. They change nothing, and migrate nothing."""

import asyncio
import socket
import ssl
import time
from dataclasses import replace

import asyncpg

from app.cli.doctor.embedded import start
from app.cli.doctor.findings import Finding, Status, failed, fine, warning
from app.cli.doctor.surroundings import Surroundings
from app.database.address import Address
from app.database.connecting import Connection, Connector, is_pooled_by_transaction
from app.database.connections import DATABASE_TROUBLE, POOLED, UTF8, Database, reason
from app.wording import of_count

STATEMENT_SECONDS = 10.0
NAME = "doctor"  # of the sessions of this command, so that it does not count them as the service's
NEWEST_THAT_IS_OLD = 170_000
FACTS = """
    SELECT current_setting('server_version') AS version, current_setting('server_version_num')::int AS number,
        current_setting('server_encoding') AS encoding, current_schema() AS schema,
        coalesce(has_schema_privilege(current_schema(), 'CREATE'), false) AS may_create,
        current_setting('max_connections')::int - (SELECT count(*) FROM pg_stat_activity) AS free_connections
"""
CONNECTIONS = 21  # of one process: two pools and a listener
WHY = (
    (
        asyncpg.InvalidAuthorizationSpecificationError,
        "it refuses the user or the password",
        "Correct the user and the password in CALLSCRIBE_DATABASE_URL, percent-encoded.",
    ),
    (
        asyncpg.InvalidCatalogNameError,
        "there is no such database on the server",
        "Make the database (CREATE DATABASE), or correct its name at the end of CALLSCRIBE_DATABASE_URL.",
    ),
    (
        asyncpg.TooManyConnectionsError,
        "it has no connection left",
        "Raise max_connections of the server, or run fewer processes.",
    ),
    (asyncpg.CannotConnectNowError, "it is starting or stopping", "Wait a moment and run this command again."),
    (
        ssl.SSLError,
        "its certificate is not trusted, or TLS failed",
        "Set sslmode and sslrootcert as docs/deploy.md says (Your own PostgreSQL).",
    ),
    (socket.gaierror, "the name of its host is not known", "Correct the host in CALLSCRIBE_DATABASE_URL, or the DNS."),
    (
        ConnectionRefusedError,
        "nothing listens at this host and port",
        "Start PostgreSQL, or correct the host and the port in CALLSCRIBE_DATABASE_URL.",
    ),
    (
        TimeoutError,
        "it does not answer in time",
        "Look for a firewall in between, and whether the server is overloaded.",
    ),
)


async def database(at: Surroundings) -> list[Finding]:
    address = at.settings.database_url
    if address is not None:
        return await _answers(at, address, "")
    started = await start(at.settings.data_dir / "postgres", at.opened)
    if isinstance(started, Finding):
        return [started]
    return await _answers(at, started.address, started.how)


async def _answers(at: Surroundings, address: Address, how: str) -> list[Finding]:
    """Tries to log in, and keeps the database for later checks if it can be used."""
    address = replace(address, application=NAME)
    connector = Connector(address, statement_seconds=STATEMENT_SECONDS)
    try:
        began = time.monotonic()
        session = await connector.connect()
        milliseconds = (time.monotonic() - began) * 1000
        try:
            found = await _look(session, milliseconds, how)
        finally:
            await asyncio.gather(session.close(timeout=1), return_exceptions=True)
        if await is_pooled_by_transaction(connector):
            found.append(failed(POOLED, "Use another port of the pooler, or the database itself."))
    except DATABASE_TROUBLE as error:
        return [_unusable(address, error)]
    if not any(finding.status is Status.FAILED for finding in found):
        at.database = Database(address, pool_size=1, statement_seconds=STATEMENT_SECONDS)
        at.opened.push_async_callback(at.database.close)
    return found


def _unusable(address: Address, error: BaseException) -> Finding:
    for kind, text, advice in WHY:
        if isinstance(error, kind):
            return failed(f"{address}: {text}", advice)
    return failed(f"{address}: {reason(error)}", "docs/deploy.md describes addresses (Your own PostgreSQL).")


async def _look(session: Connection, milliseconds: float, how: str) -> list[Finding]:
    row = await session.fetchrow(FACTS)
    assert row is not None
    found = []
    if row["encoding"] != UTF8:
        advice = "Make a database with the encoding UTF8, and restore the jobs into it."
        found.append(failed(f"its encoding is {row['encoding']}, which lacks most languages", advice))
    if row["schema"] is None:
        found.append(failed("the schema of its search_path does not exist", "Make it: CREATE SCHEMA …"))
    elif not row["may_create"]:
        advice = f"GRANT CREATE ON SCHEMA {row['schema']} TO the user of CALLSCRIBE_DATABASE_URL."
        found.append(failed("the user may make no tables, so that the service cannot migrate", advice))
    if row["free_connections"] < CONNECTIONS:
        free = of_count(row["free_connections"], "connection", "connections")
        found.append(
            warning(f"it has {free} left; a process needs {CONNECTIONS}", "Raise max_connections of the server.")
        )
    if row["number"] < NEWEST_THAT_IS_OLD:
        text = f"PostgreSQL {row['version']}: while a process is frozen in a statement, its job stays locked"
        found.append(warning(text, "Use PostgreSQL 17 or newer."))
    text = f"PostgreSQL {row['version']}{how}, answered in {milliseconds:.0f} ms"
    return found or [fine(text, version=row["version"], milliseconds=round(milliseconds, 1))]
