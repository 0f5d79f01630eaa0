"""The real embedded PostgreSQL, and the ways in which scenarios break it."""

import asyncio
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random
from typing import Literal

import asyncpg

from app.database import postmaster
from app.database.connections import migrate
from app.database.embedded import EmbeddedPostgres

STOPS = {"fast": signal.SIGINT, "immediate": signal.SIGQUIT}


class Postgres:
    """A server in a folder below `folder`. No watchdog starts it again, so it stays away until a method starts it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "postgres"
        self._embedded = EmbeddedPostgres(self.folder)
        self.address = self._embedded.start()

    async def open(self) -> "asyncpg.Pool[asyncpg.Record]":
        """Migrates the schema and connects."""
        await migrate(self.address)
        return await asyncpg.create_pool(self.address, min_size=0, max_size=4)

    async def restart(self, mode: Literal["fast", "immediate"]) -> None:
        await asyncio.to_thread(self._stop, STOPS[mode])
        await asyncio.to_thread(self._start)

    async def stay_away(self, seconds: float) -> None:
        """Stops the server, waits, and starts it again."""
        await asyncio.to_thread(self._stop, STOPS["fast"])
        await asyncio.sleep(seconds)
        await asyncio.to_thread(self._start)

    async def leave_behind(self, pid: int) -> None:
        """Stops the server, and leaves files that say that process `pid` is the server, as a reboot can."""
        await asyncio.to_thread(self._stop, STOPS["fast"])
        text = f"{pid}\n{self.folder}\n1795000000\n5432\n{self.folder}\n\n  1  1\nready\n"
        for name in ("postmaster.pid", ".s.PGSQL.5432.lock"):
            (self.folder / name).write_text(text)

    def kill(self) -> bool:
        """Kills the postmaster with SIGKILL. Returns whether it was running."""
        return postmaster.send(self.folder, signal.SIGKILL)

    async def lives(self) -> bool:
        """Returns whether the server answers a new connection."""
        try:
            connection = await asyncpg.connect(self.address, timeout=5)
            await connection.close()
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return False
        return True

    def stop(self) -> None:
        self._stop(STOPS["immediate"])
        self._embedded.stop()

    def _start(self) -> None:
        """Starts the server with a new EmbeddedPostgres, because the old one would take the stop for a fault."""
        self._embedded.stop()
        self._embedded = EmbeddedPostgres(self.folder)
        self.address = self._embedded.start()

    def _stop(self, how: signal.Signals) -> None:
        if not postmaster.stop(self.folder, self._embedded.server_lock, how):
            raise TimeoutError("PostgreSQL does not stop")


@contextmanager
def small_disk(folder: Path, size_bytes: int) -> Iterator[None]:
    """Mounts a disk of this size, in memory, at `folder` until the end of the block."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


async def terminate_one(pool: "asyncpg.Pool[asyncpg.Record]", random: Random) -> None:
    """Ends one random connection of the service."""
    found = "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'callscribe@%' ORDER BY pid"
    if pids := [row["pid"] for row in await pool.fetch(found)]:
        await pool.execute("SELECT pg_terminate_backend($1)", random.choice(pids))


async def fill_up(address: str, seconds: float) -> int:
    """Holds every free connection for `seconds`. Returns how many it held."""
    held: list[asyncpg.Connection[asyncpg.Record]] = []
    try:
        async with asyncio.timeout(seconds):
            while True:
                try:
                    held.append(await asyncpg.connect(address))
                except asyncpg.TooManyConnectionsError:
                    await asyncio.sleep(0.1)
    except TimeoutError:
        return len(held)
    finally:
        for connection in held:
            with suppress(Exception):
                await connection.close(timeout=1)
