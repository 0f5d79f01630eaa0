"""What the scenarios share: a running service with its database, a worker in a process of its own, and recordings."""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import httpx

from proofs.soak.scenarios import call_of
from testing.recordings import call
from testing.service import START_LIMIT_SECONDS, Service, eventually, start_callscribe

ANSWER_SECONDS = 600.0
POLL_SECONDS = 0.02
PATIENCE_SECONDS = 300.0
SAMPLE_SECONDS = 57.0
READY = "worker is ready"

FINAL = ("completed", "failed", "cancelled")


@dataclass(frozen=True)
class Site:
    """A running service, a client that waits as long as it must, and the database of the service."""

    service: Service
    client: httpx.AsyncClient
    database: "asyncpg.Connection[asyncpg.Record]"

    async def jobs(self) -> list[Any]:
        """Returns the rows of all jobs, oldest first."""
        return list(await self.database.fetch("SELECT * FROM transcription ORDER BY id"))

    async def job(self, job: UUID) -> Any:
        return await self.database.fetchrow("SELECT * FROM transcription WHERE id = $1", job)

    async def ended_at(self, job: UUID) -> datetime:
        """Returns when a job ended, by the clock of this machine: when the transaction that ended it began."""
        ended = (await self.job(job))["completed_at"]
        assert isinstance(ended, datetime)
        return ended

    async def newest(self, *statuses: str) -> UUID:
        """Waits until the newest job has one of these statuses, and returns its id."""
        statement = "SELECT id, status FROM transcription ORDER BY id DESC LIMIT 1"
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                row = await self.database.fetchrow(statement)
                if row is not None and row["status"] in statuses:
                    return UUID(str(row["id"]))
                await asyncio.sleep(POLL_SECONDS)

    async def ended(self, job: UUID) -> Any:
        """Waits until a job has ended, and returns its row."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (row := await self.job(job))["status"] not in FINAL:
                await asyncio.sleep(POLL_SECONDS)
        return row

    async def expire_leases(self) -> None:
        """Does what thirty seconds without a heartbeat do."""
        await self.database.execute("UPDATE transcription SET lease_until = now() WHERE status = 'in_progress'")


@asynccontextmanager
async def visiting(service: Service) -> AsyncIterator[Site]:
    """Connects to a running service and to its embedded database until the end of the block."""
    database = await asyncpg.connect(
        host=str(service.folder / "postgres"), user="postgres", database="postgres", timeout=60
    )
    limits = httpx.Limits(max_connections=None)
    try:
        async with httpx.AsyncClient(
            base_url=service.url, timeout=ANSWER_SECONDS, trust_env=False, limits=limits
        ) as client:
            yield Site(service, client, database)
    finally:
        await database.close()


@contextmanager
def working(folder: Path) -> Iterator["subprocess.Popen[str]"]:
    """Runs `callscribe worker` on the database and the recordings of `folder`. It is ready when the block begins."""
    log = folder / "worker.log"
    before = log.read_text().count(READY) if log.exists() else 0
    with log.open("a") as stderr:
        process = start_callscribe("worker", folder=folder, stderr=stderr.fileno())
    try:
        eventually(lambda: process.poll() is not None or log.read_text().count(READY) > before)
        assert process.poll() is None, log.read_text()
        yield process
    finally:
        process.kill()
        process.wait(START_LIMIT_SECONDS)
        assert process.stdout is not None
        process.stdout.close()


def clips(count: int, seconds: float) -> list[bytes]:
    """Returns `count` different parts of the sample call, each of `seconds`."""
    step = (SAMPLE_SECONDS - seconds) / count
    return [call(number * step, number * step + seconds) for number in range(count)]


def long_call(folder: Path, seconds: float) -> bytes:
    """Returns a stereo call of real speech that lasts `seconds`."""
    return call_of(folder / "long.wav", seconds).read_bytes()
