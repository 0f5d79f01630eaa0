"""Kills the embedded PostgreSQL, which the processes watch themselves, or fills its disk.

At the start its pid file names an innocent process, which must survive.
"""

import asyncio
import itertools
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import asyncpg
import httpx

from proofs.chaos.durability import SETTLE_SECONDS, order
from proofs.chaos.figures import Figure
from proofs.chaos.stage import Settled, Stage

RATE = 6.0
LONGEST_SECONDS = 0.3
POLL_SECONDS = 0.1
LIMIT_SECONDS = 120.0
DISK_BYTES = 160 * 2**20
BLOCK = b"\0" * 2**16
LOGGED = "SELECT pg_logical_emit_message(true, 'chaos', repeat('x', 1000000))"  # a megabyte of write-ahead log


async def deaths(stage: Stage, *, count: int, every_seconds: float, back_within: float) -> list[Figure]:
    """Kills the postmaster with SIGKILL several times under load. At first its pid file names an innocent process."""
    with _innocent() as innocent:
        await stage.postgres.leave_behind(innocent.pid)
        await stage.start(2, 2)
        seconds, kills = [], 0
        async with _load(stage), _health(stage) as unwell:
            for _ in range(count):
                await asyncio.sleep(stage.random.uniform(0.5, 1.5) * every_seconds)
                kills += stage.postgres.kill()
                seconds.append(await _until_back(stage))
        settled = await stage.settle(SETTLE_SECONDS)
        return [
            Figure.at_least("SIGKILLs of the postmaster", kills, count),
            Figure.at_most("back again, longest s", max(seconds), back_within),
            Figure.none("answers of /healthz other than 200", len(unwell), unwell),
            Figure.none("innocent processes that were ended", int(innocent.poll() is not None)),
            *_unharmed(stage, settled),
        ]


async def full_disk(stage: Stage, *, seconds: float, back_within: float) -> list[Figure]:
    """Fills PostgreSQL's disk under load, so that it stops and cannot start. Then makes room again."""
    await stage.start(1, 2)
    async with _load(stage), _health(stage) as unwell:
        await asyncio.sleep(3)
        filler = stage.postgres.folder / "filler"
        await asyncio.to_thread(_fill, filler)
        stopped = await _write_until_it_stops(stage)
        await asyncio.sleep(seconds)
        lived = await stage.postgres.lives()
        filler.unlink()
        back = await _until_back(stage)
    settled = await stage.settle(SETTLE_SECONDS)
    return [
        Figure.at_least("stops because the disk was full", int(stopped and not lived), 1),
        Figure.at_most("back again after there is room, s", back, back_within),
        Figure.none("answers of /healthz other than 200", len(unwell), unwell),
        *_unharmed(stage, settled),
    ]


def _unharmed(stage: Stage, settled: Settled) -> list[Figure]:
    return [
        Figure.at_least("jobs", len(settled.accounts.ends), 1),
        *settled.figures,
        Figure.none("crashes counted", sum(end.crashes for end in settled.accounts.ends)),
        Figure.none("processes that ended", stage.cluster.exit_codes.total()),
    ]


@contextmanager
def _innocent() -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@asynccontextmanager
async def _load(stage: Stage) -> AsyncIterator[None]:
    """Posts jobs until the end of the block, then waits until all are accepted."""
    over = False

    def work() -> Iterator[str]:
        yield from itertools.takewhile(lambda _: not over, (order(stage, LONGEST_SECONDS) for _ in itertools.count()))

    offering = asyncio.create_task(stage.load.offer(work(), RATE))
    try:
        yield
    except BaseException:
        offering.cancel()
        raise
    over = True
    await offering


@asynccontextmanager
async def _health(stage: Stage) -> AsyncIterator[list[str]]:
    """Requests /healthz during the block. The list fills with every answer that is not 200."""
    unwell: list[str] = []

    async def ask() -> None:
        async with httpx.AsyncClient(trust_env=False, timeout=LIMIT_SECONDS) as client:
            while True:
                for url in stage.cluster.urls:
                    try:
                        response = await client.get(f"{url}/healthz")
                    except httpx.TransportError as error:
                        unwell.append(repr(error))
                    else:
                        unwell.extend([response.text] * (response.status_code != 200))
                await asyncio.sleep(POLL_SECONDS)

    asking = asyncio.create_task(ask())
    try:
        yield unwell
    finally:
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)


async def _until_back(stage: Stage) -> float:
    """Waits until the database and every API are ready. Returns how many seconds that took. Raises TimeoutError."""
    started = time.monotonic()
    async with asyncio.timeout(LIMIT_SECONDS), httpx.AsyncClient(trust_env=False, timeout=LIMIT_SECONDS) as client:
        while not await stage.postgres.lives():
            await asyncio.sleep(POLL_SECONDS)
        for url in stage.cluster.urls:
            while (await client.get(f"{url}/readyz")).status_code != 200:
                await asyncio.sleep(POLL_SECONDS)
    await stage.pool.expire_connections()
    return time.monotonic() - started


def _fill(filler: Path) -> None:
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(BLOCK)


async def _write_until_it_stops(stage: Stage) -> bool:
    """Fills the write-ahead log until it has no room, which stops the server. Returns whether the server stopped."""
    connection = await asyncpg.connect(stage.postgres.address)
    try:
        for _ in range(DISK_BYTES // 1_000_000):
            await connection.execute(LOGGED)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        return True
    finally:
        connection.terminate()
    return False
