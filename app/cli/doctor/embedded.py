"""Starts or joins the embedded PostgreSQL, as each process of the service does.

Processes share the server by locks, so that this command can run beside the service: it neither stops the service's
server nor starts a second one. If no process runs, it starts the server and stops it again at its end. It makes no
database where there is none.
"""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from app.cli.doctor.findings import Finding, failed, fine
from app.database import postmaster
from app.database.address import Address, parse_address
from app.database.connections import DatabaseUnavailable
from app.database.embedded import EmbeddedPostgres
from app.process.tasks import within
from app.process.threads import in_daemon_thread

START_SECONDS = 30.0


@dataclass(frozen=True)
class Started:
    address: Address
    how: str


async def start(folder: Path, opened: AsyncExitStack) -> Started | Finding:
    """Returns the server's address, or a finding if there is no server to ask. `opened` gives the server back."""
    if await asyncio.to_thread(_is_new, folder):
        return fine(f"there is none yet in {folder}: the service makes it when it first starts")
    try:
        server = EmbeddedPostgres(folder)
    except DatabaseUnavailable as error:
        return failed(str(error), "Run this command as the service's user.")
    opened.push_async_callback(in_daemon_thread, server.stop, "stop-postgres")
    runs = (lock := postmaster.try_lock(server.server_lock)) is None
    if lock is not None:
        lock.close()
    try:
        address = await within(START_SECONDS, in_daemon_thread(server.start, "start-postgres"))
    except DatabaseUnavailable as error:
        return failed(str(error), "docs/deploy.md says what the folder needs (The embedded PostgreSQL).")
    except TimeoutError:
        said = " / ".join(postmaster.last_lines(folder)) or "its log is empty"
        return failed(
            f"the embedded PostgreSQL does not start. The end of its log: {said}",
            f"Read {folder / 'log'}. Often the disk is full.",
        )
    how = ", embedded, which the service runs" if runs else ", embedded, which was started for this check only"
    return Started(parse_address(address), how)


def _is_new(folder: Path) -> bool:
    return not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))
