"""The database role `callscribe_reader`, which may read the view `call_transtxt` and nothing else.

The password is hashed here, as PostgreSQL would hash it. So neither the server nor its log ever sees the password.
"""

import base64
import hashlib
import hmac
import secrets

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlmodel.ext.asyncio.session import AsyncSession

ROLE = "callscribe_reader"
VIEW = "call_transtxt"
# They keep a mistake of a program from doing harm. The role can change them for itself.
LIMITS = {
    "default_transaction_read_only": "on",
    "idle_in_transaction_session_timeout": "60s",
    "statement_timeout": "60s",
}
ROUNDS = 4096  # PostgreSQL's default for scram_iterations
SALT_BYTES = 16
NO_RIGHT = "42501"  # SQLSTATE

BY_HAND = (
    f"let an administrator run: CREATE ROLE {ROLE} LOGIN PASSWORD '…'; GRANT SELECT ON {VIEW} TO {ROLE}; and, where "
    "PUBLIC may not, GRANT CONNECT ON DATABASE and GRANT USAGE ON SCHEMA"
)
_RIGHTS = text(f"""
    SELECT has_database_privilege('{ROLE}', current_database(), 'CONNECT')
       AND has_schema_privilege('{ROLE}', current_schema(), 'USAGE')
       AND has_table_privilege('{ROLE}', '{VIEW}', 'SELECT')
""")
_POWERS = text(f"""
    SELECT rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb OR rolreplication
        OR EXISTS (SELECT FROM pg_auth_members WHERE member = pg_roles.oid)
    FROM pg_roles WHERE rolname = '{ROLE}'
""")


class ReaderRefused(Exception):
    """The role could not be made or changed. The message says what an operator can do."""


def scram_verifier(password: str, salt: bytes) -> str:
    """What PostgreSQL stores of a password (RFC 5803). The password is printable ASCII, so SASLprep keeps it."""
    salted = hashlib.pbkdf2_hmac("sha256", password.encode("ascii"), salt, ROUNDS)
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    stored_key = hashlib.sha256(client_key).digest()
    shown = [base64.b64encode(value).decode() for value in (salt, stored_key, server_key)]
    return f"SCRAM-SHA-256${ROUNDS}:{shown[0]}${shown[1]}:{shown[2]}"


async def write_reader(session: AsyncSession, password: str) -> bool:
    """Make the role, or give it this password. Returns whether it is new. Raises ReaderRefused."""
    verifier = scram_verifier(password, secrets.token_bytes(SALT_BYTES))
    powers = (await session.exec(_POWERS)).scalar()  # type: ignore[call-overload]
    if powers:
        raise ReaderRefused(f"the role {ROLE} exists and has more rights than to read; drop it, and run this again")
    connection = await session.connection()
    change = "CREATE" if powers is None else "ALTER"
    try:
        await connection.exec_driver_sql(f"{change} ROLE {ROLE} LOGIN PASSWORD '{verifier}'")
        for setting, value in LIMITS.items():
            await connection.exec_driver_sql(f"ALTER ROLE {ROLE} SET {setting} = '{value}'")
        await connection.exec_driver_sql(f"GRANT SELECT ON {VIEW} TO {ROLE}")
        await _let_in(session)
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) != NO_RIGHT:
            raise
        raise ReaderRefused(f"this user of the database may not make or change roles; {BY_HAND}") from None
    if not (await session.exec(_RIGHTS)).scalar():  # type: ignore[call-overload]
        raise ReaderRefused(f"the role {ROLE} may not connect to this database or use its schema; {BY_HAND}")
    return powers is None


async def _let_in(session: AsyncSession) -> None:
    """Grant what PUBLIC has by default. If this user may not grant it, PostgreSQL only warns."""
    names = "SELECT quote_ident(current_database()), quote_ident(current_schema())"
    connection = await session.connection()
    here = (await session.exec(text(names))).one()  # type: ignore[call-overload]
    if not (await session.exec(_RIGHTS)).scalar():  # type: ignore[call-overload]
        await connection.exec_driver_sql(f"GRANT CONNECT ON DATABASE {here[0]} TO {ROLE}")
        await connection.exec_driver_sql(f"GRANT USAGE ON SCHEMA {here[1]} TO {ROLE}")
