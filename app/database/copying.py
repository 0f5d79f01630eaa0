"""Writes the database to a file and reads it back, with PostgreSQL's own pg_dump and pg_restore.

The package of the embedded PostgreSQL carries both, so they work for any server, and an operator need not install them.
Passwords go to them by the environment, because other users can read the arguments of a process.
"""

import asyncio
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from app.database import postgres_folder
from app.database.address import Address

STANDARD = "-"
"""In the place of a file: standard output or input."""

OF_LIBPQ = {
    "passfile": "PGPASSFILE",
    "service": "PGSERVICE",
    "sslmode": "PGSSLMODE",
    "sslcert": "PGSSLCERT",
    "sslkey": "PGSSLKEY",
    "sslrootcert": "PGSSLROOTCERT",
    "sslcrl": "PGSSLCRL",
    "sslnegotiation": "PGSSLNEGOTIATION",
    "ssl_min_protocol_version": "PGSSLMINPROTOCOLVERSION",
    "ssl_max_protocol_version": "PGSSLMAXPROTOCOLVERSION",
    "krbsrvname": "PGKRBSRVNAME",
    "gsslib": "PGGSSLIB",
}
DESCRIPTOR = re.compile(r"/proc/self/fd/(\d+)")  # the folder of a socket whose path is too long
RESTORED_AS = ("--no-owner", "--no-privileges", "--exit-on-error", "--single-transaction")


class CopyFailed(Exception):
    """PostgreSQL's program has failed. The message is its first line."""


async def dump(address: Address, schema: str, file: str) -> None:
    """Write a schema to a new file, while processes use the database. Raises CopyFailed.

    The file is complete or does not exist. Only this user can read it.
    """
    chosen = ["--format=custom", f"--schema={_quoted(schema)}", "--strict-names"]
    if file == STANDARD:
        return await _run("pg_dump", address, chosen)
    part = Path(f"{file}.part")
    try:
        await _run("pg_dump", address, [*chosen, f"--file={part}"])
        await asyncio.to_thread(part.replace, file)
    finally:
        await asyncio.to_thread(part.unlink, missing_ok=True)


async def load(address: Address, schema: str, file: str) -> None:
    """Read a file of `dump` into an empty schema of the same name, all of it or nothing. Raises CopyFailed."""
    target = [f"--dbname={address.database or ''}", f"--schema={schema}"]  # so that it does not create the schema
    await _run("pg_restore", address, [*RESTORED_AS, *target, *([] if file == STANDARD else [file])])


async def _run(program: str, address: Address, arguments: Sequence[str]) -> None:
    descriptors = [int(found[1]) for host in address.hosts if (found := DESCRIPTOR.fullmatch(host.name or ""))]
    process = await asyncio.create_subprocess_exec(
        postgres_folder.program(program),
        "--no-password",
        *arguments,
        env={**os.environ, **libpq_environment(address)},
        stderr=asyncio.subprocess.PIPE,
        pass_fds=descriptors,
        umask=0o077,
    )
    _, errors = await process.communicate()
    if process.returncode != 0:
        lines = errors.decode(errors="replace").strip().splitlines() or [f"{program} failed"]
        raise CopyFailed(lines[0])


def libpq_environment(address: Address) -> Mapping[str, str]:
    """The address as variables that PostgreSQL's programs read."""
    found = {
        "PGHOST": ",".join(host.name or "" for host in address.hosts).strip(","),
        "PGPORT": ",".join(str(host.port or "") for host in address.hosts),
        "PGUSER": address.user,
        "PGPASSWORD": address.password,
        "PGDATABASE": address.database,
        "PGOPTIONS": " ".join(
            [address.options, *(f"-c {name}={_escaped(value)}" for name, value in address.settings.items())]
        ),
        "PGCONNECT_TIMEOUT": f"{address.connect_seconds:.0f}",
        "PGTARGETSESSIONATTRS": "read-write" if len(address.hosts) > 1 else None,
        "PGAPPNAME": address.application or "callscribe-copy",
        **{name: address.parameters.get(parameter) for parameter, name in OF_LIBPQ.items()},
    }
    return {name: value for name, value in found.items() if value and value.strip(" ,")}


def _escaped(value: str) -> str:
    return re.sub(r"([\\ ])", r"\\\1", value)


def _quoted(schema: str) -> str:
    """A schema's name as a pattern of pg_dump that means only this name."""
    return '"' + schema.replace('"', '""') + '"'
