"""Sets up what every scenario uses: a new database with the audit, processes, clients, and the accounts at the end.

It exists so that a scenario contains only what it breaks and what it promises.
"""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random

import asyncpg

from app.database.connecting import APPLICATION
from proofs.chaos import audit
from proofs.chaos.cluster import START_LIMIT_SECONDS, Cluster, Member
from proofs.chaos.events import Events, receiving_events
from proofs.chaos.figures import Figure
from proofs.chaos.load import Load
from proofs.chaos.postgres import Postgres, small_disk

POLL_SECONDS = 0.5
KEPT_LOGS = Path(tempfile.gettempdir()) / f"callscribe-chaos-{os.getuid()}"


@dataclass(frozen=True)
class Settled:
    """How all jobs ended, and everything that is not as promised."""

    accounts: audit.Accounts
    findings: Sequence[audit.Finding]

    @property
    def figures(self) -> list[Figure]:
        """Returns the number of findings of each kind. 0 is promised."""
        lines = {kind: [found.text for found in self.findings if found.kind is kind] for kind in audit.Kind}
        return [Figure.none(kind, len(found), found) for kind, found in lines.items()]


@dataclass(frozen=True)
class Stage:
    random: Random
    postgres: Postgres
    pool: "asyncpg.Pool[asyncpg.Record]"
    cluster: Cluster
    load: Load
    events: Events

    async def start(self, apis: int, workers: int) -> None:
        """Starts processes. Returns when the APIs are ready and all processes are connected to the database."""
        await self.cluster.start(apis, workers)
        while len(await self.at_work()) < len(self.cluster.members):
            await asyncio.sleep(POLL_SECONDS)

    async def at_work(self) -> list[Member]:
        """Returns the processes that are connected to the database."""
        rows = await self.pool.fetch("SELECT DISTINCT application_name FROM pg_stat_activity")
        names = {row["application_name"] for row in rows}
        return [member for member in self.cluster.members if f"{APPLICATION}{member.name}"[:63] in names]

    async def workers_at_work(self, least: int) -> None:
        """Waits until at least `least` workers are at work, because jobs only run after a worker has started."""
        async with asyncio.timeout(START_LIMIT_SECONDS):
            while sum(member.kind == "worker" for member in await self.at_work()) < least:
                await asyncio.sleep(POLL_SECONDS)

    async def busy_workers(self) -> list[Member]:
        """Returns the workers that are running jobs."""
        rows = await self.pool.fetch("SELECT DISTINCT leased_by FROM transcription WHERE status = 'in_progress'")
        names = {row["leased_by"] for row in rows}
        return [member for member in self.cluster.workers if member.name in names]

    async def ended(self) -> int:
        statement = "SELECT count(*) FROM transcription WHERE completed_at IS NOT NULL"
        return int(await self.pool.fetchval(statement))

    async def until_ended(self, count: int, limit_seconds: float) -> None:
        """Waits until `count` jobs have ended. Raises TimeoutError."""
        async with asyncio.timeout(limit_seconds):
            while await self.ended() < count:
                await asyncio.sleep(POLL_SECONDS)

    async def settle(self, limit_seconds: float) -> Settled:
        """Waits until every accepted job has ended and every signalled process is replaced. Then reads the accounts."""
        with suppress(TimeoutError):  # the accounts show which jobs have not ended
            await self.until_ended(len(self.load.accepted), limit_seconds)
        await self.cluster.until_replaced()
        accounts = await audit.read_accounts(self.pool)
        found = audit.discrepancies(self.load.accepted, accounts)
        return Settled(accounts, found + await self.events.discrepancies(self.load.accepted))


@asynccontextmanager
async def stage(
    seed: str, arguments: Sequence[str], *, embedded: bool = False, disk_bytes: int | None = None, **settings: str
) -> AsyncIterator[Stage]:
    """Sets up everything without a process, and tears it down after the block. After a failure, it keeps the log.

    If the database is `embedded`, the processes find it by its folder and watch it. Otherwise they get its address.
    """
    async with receiving_events() as events, AsyncExitStack() as stack:
        name = stack.enter_context(tempfile.TemporaryDirectory(prefix="callscribe-chaos-"))
        folder = Path(name)
        folder.chmod(0o755)
        if disk_bytes is not None:
            stack.enter_context(small_disk(folder / "postgres", disk_bytes))
        postgres = Postgres(folder)
        address = None if embedded else postgres.address
        cluster = Cluster(folder, address, *arguments, **{**settings, **events.settings})
        random = Random(seed)
        load = Load(lambda: cluster.urls, random, events)
        try:
            async with await postgres.open() as pool:
                await audit.install(pool)
                yield Stage(random, postgres, pool, cluster, load, events)
                pool.terminate()
        except BaseException:
            with suppress(OSError):  # an error here would hide the error that ended the block
                KEPT_LOGS.mkdir(exist_ok=True)
                (folder / "processes.log").replace(KEPT_LOGS / f"{seed}.log")
            raise
        finally:
            await load.close()
            await cluster.stop()
            postgres.stop()
