"""The real embedded PostgreSQL, to be restarted, cut off and filled up."""

import asyncio
import shlex
import subprocess
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Literal

import asyncpg
import psutil

from app.db import EmbeddedPostgres, migrate


class Postgres:
    """A server of its own under `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "postgres"
        self.address = EmbeddedPostgres(self._folder).start()
        server = psutil.Process(int((self._folder / "postmaster.pid").read_text().splitlines()[0]))
        self._pg_ctl = str(Path(server.exe()).with_name("pg_ctl"))
        self._user = server.username()

    async def open(self) -> "asyncpg.Pool[asyncpg.Record]":
        """Bring the schema up and connect."""
        await migrate(self.address)
        return await asyncpg.create_pool(self.address, min_size=0, max_size=4)

    async def restart(self, mode: Literal["fast", "immediate"]) -> None:
        await asyncio.to_thread(self._control, "restart", "-m", mode)

    async def stay_away(self, seconds: float) -> None:
        """Stop in order, and be back later with the same options."""
        options = shlex.split((self._folder / "postmaster.opts").read_text())[1:]
        await asyncio.to_thread(self._control, "stop", "-m", "fast")
        await asyncio.sleep(seconds)
        await asyncio.to_thread(self._control, "start", "-o", shlex.join(options))

    def stop(self) -> None:
        self._control("stop", "-m", "immediate")

    def _control(self, *arguments: str) -> None:
        command = [self._pg_ctl, *arguments, "-w", "-D", str(self._folder), "-l", str(self._folder / "log")]
        subprocess.run(command, user=self._user, check=True, stdout=subprocess.DEVNULL, cwd="/")


async def terminate_one(pool: "asyncpg.Pool[asyncpg.Record]", random: Random) -> None:
    """End a connection of some process of the service."""
    found = "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'callscribe@%' ORDER BY pid"
    if pids := [row["pid"] for row in await pool.fetch(found)]:
        await pool.execute("SELECT pg_terminate_backend($1)", random.choice(pids))


async def fill_up(address: str, seconds: float) -> int:
    """Take every connection that is left, for a while. Returns how many that were."""
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
