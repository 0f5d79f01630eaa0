"""What every scenario plays on: a fresh database with an audit, processes, load; and the accounts at the end."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

import asyncpg

from app.db import APPLICATION
from chaos import audit
from chaos.cluster import Cluster, Member
from chaos.events import Told, telling
from chaos.load import Load
from chaos.postgres import Postgres

POLL_SECONDS = 0.5
KEPT_LOGS = Path(tempfile.gettempdir()) / "callscribe-chaos"


@dataclass(frozen=True)
class Figure:
    """What a scenario found, beside what was promised."""

    what: str
    value: float
    promised: str
    kept: bool


class Discrepancy(Exception):
    """Something is not as promised: the text tells what, a line each."""


@dataclass(frozen=True)
class Stage:
    random: Random
    postgres: Postgres
    pool: "asyncpg.Pool[asyncpg.Record]"
    cluster: Cluster
    load: Load
    told: Told

    async def start(self, apis: int, workers: int) -> None:
        """Returns once the APIs are ready and all are at work."""
        await self.cluster.start(apis, workers)
        while len(await self.at_work()) < len(self.cluster.members):
            await asyncio.sleep(POLL_SECONDS)

    async def at_work(self) -> list[Member]:
        """The processes that have got as far as the database."""
        rows = await self.pool.fetch("SELECT DISTINCT application_name FROM pg_stat_activity")
        names = {row["application_name"] for row in rows}
        return [member for member in self.cluster.members if f"{APPLICATION}{member.name}"[:63] in names]

    async def busy_workers(self) -> list[Member]:
        """The workers that have jobs in the works."""
        rows = await self.pool.fetch("SELECT DISTINCT leased_by FROM transcription WHERE status = 'in_progress'")
        names = {row["leased_by"] for row in rows}
        return [member for member in self.cluster.workers if member.name in names]

    async def ended(self) -> int:
        statement = "SELECT count(*) FROM transcription WHERE completed_at IS NOT NULL"
        return int(await self.pool.fetchval(statement))

    async def settle(self, limit_seconds: float) -> audit.Accounts:
        """Wait until every accepted job has ended, and give account. Raises Discrepancy."""
        try:
            async with asyncio.timeout(limit_seconds):
                while await self.ended() < len(self.load.accepted):
                    await asyncio.sleep(POLL_SECONDS)
        except TimeoutError:
            pass  # the accounts tell which jobs have not
        accounts = await audit.read_accounts(self.pool)
        found = audit.discrepancies(self.load.accepted, accounts)
        found += await self.told.discrepancies(self.load.accepted)
        if found:
            raise Discrepancy("\n".join(found))
        return accounts


@asynccontextmanager
async def stage(seed: str, arguments: Sequence[str], **settings: str) -> AsyncIterator[Stage]:
    """Set it all up with no process yet, and take it down. After a failure the processes' log is kept."""
    async with telling() as told, AsyncExitStack() as stack:
        name = stack.enter_context(tempfile.TemporaryDirectory(prefix="callscribe-chaos-"))
        folder = Path(name)
        folder.chmod(0o755)
        postgres = Postgres(folder)
        cluster = Cluster(folder, postgres.address, *arguments, **{**settings, **told.settings})
        random = Random(seed)
        load = Load(lambda: cluster.urls, random, told)
        try:
            async with await postgres.open() as pool:
                await audit.install(pool)
                yield Stage(random, postgres, pool, cluster, load, told)
                pool.terminate()
        except BaseException:
            KEPT_LOGS.mkdir(exist_ok=True)
            (folder / "processes.log").replace(KEPT_LOGS / f"{seed}.log")
            raise
        finally:
            await load.close()
            await cluster.stop()
            postgres.stop()


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which that share of them lies; 0 of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0
