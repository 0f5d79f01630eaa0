"""Makes PostgreSQL restart, stay away, end connections, and have no free connection."""

import asyncio
import time
from collections.abc import Awaitable

from proofs.chaos.durability import SETTLE_SECONDS
from proofs.chaos.figures import Figure
from proofs.chaos.postgres import fill_up, terminate_one
from proofs.chaos.stage import POLL_SECONDS, Stage

WINDOW_SHARE = 1 / 3
RATE = 8.0


async def trouble(stage: Stage, *, seconds: float, within_seconds: float, least_share: float) -> list[Figure]:
    """Restarts the database in two ways, ends connections, and takes all free connections, each under load.

    `within_seconds` after each of them, the service must end at least `least_share` of the jobs that are offered.
    """
    await stage.start(2, 3)
    span = 2 * seconds + 5 * within_seconds
    offering = asyncio.create_task(stage.load.offer(["sleep 0.05"] * round(span * RATE), RATE))
    await asyncio.sleep(5)
    figures = [
        Figure.at_least(f"rate after {what}", share, least_share)
        for what, share in [
            ("a fast restart", await _after(stage, within_seconds, stage.postgres.restart("fast"))),
            ("an immediate restart", await _after(stage, within_seconds, stage.postgres.restart("immediate"))),
            (
                f"{seconds:g} s of 2 terminated backends/s",
                await _after(stage, within_seconds, _terminate(stage, seconds)),
            ),
            (f"{seconds:g} s without a free connection", await _after(stage, within_seconds, _fill_up(stage, seconds))),
        ]
    ]
    await offering
    settled = await stage.settle(SETTLE_SECONDS)
    ended = sum(stage.cluster.exit_codes.values())
    return [*figures, *settled.figures, Figure.none("processes that ended", ended)]


async def outages(stage: Stage, *, count: int, jobs: int, seconds: float) -> list[Figure]:
    """Stops the database for longer than a lease, several times, while jobs keep running."""
    await stage.start(1, 3)
    hanging = [await stage.load.post("hang") for _ in range(jobs)]
    await _until_all_run(stage, jobs)
    for _ in range(count):
        await stage.postgres.stay_away(seconds)
        await asyncio.sleep(seconds)
    for job in hanging:
        await stage.load.cancel(job)
    settled = await stage.settle(SETTLE_SECONDS)
    ended = stage.cluster.exit_codes.total()
    return [
        Figure.at_least("jobs that ran all the time", len(settled.accounts.ends), jobs),
        *settled.figures,
        Figure.none("crashes counted", sum(end.crashes for end in settled.accounts.ends)),
        Figure.none("processes that ended", ended),
    ]


async def _until_all_run(stage: Stage, jobs: int) -> None:
    async with asyncio.timeout(SETTLE_SECONDS):
        while await stage.pool.fetchval("SELECT count(*) FROM transcription WHERE status = 'in_progress'") < jobs:
            await asyncio.sleep(POLL_SECONDS)


async def _after(stage: Stage, within_seconds: float, trouble: Awaitable[None]) -> float:
    """Returns the jobs ended for each job offered, in the last third of the time that the service has to recover."""
    await trouble
    await asyncio.sleep(within_seconds * (1 - WINDOW_SHARE))
    started, before, accepted = time.monotonic(), await _ended(stage), len(stage.load.accepted)
    await asyncio.sleep(within_seconds * WINDOW_SHARE)
    passed = time.monotonic() - started
    offered = min(RATE * passed, len(stage.load.accepted) - accepted)
    return (await _ended(stage) - before) / offered if offered else 1.0


async def _ended(stage: Stage) -> int:
    """Does what `Stage.ended` does, and repeats it, because the connections of this harness may be broken too."""
    for _ in range(20):
        try:
            return await stage.ended()
        except Exception:  # noqa: BLE001  each broken connection of the pool raises once
            await asyncio.sleep(0.1)
    return await stage.ended()


async def _terminate(stage: Stage, seconds: float) -> None:
    for _ in range(round(seconds * 2)):
        try:
            await terminate_one(stage.pool, stage.random)
        except Exception:  # noqa: BLE001  the connection of this harness was terminated
            continue
        finally:
            await asyncio.sleep(0.5)


async def _fill_up(stage: Stage, seconds: float) -> None:
    await fill_up(stage.postgres.address, seconds)
