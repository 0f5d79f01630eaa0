"""Postgres goes away, throws its clients out, and has no connection left."""

import asyncio
import time
from collections.abc import Awaitable

from chaos.durability import SETTLE_SECONDS
from chaos.postgres import fill_up, terminate_one
from chaos.stage import Figure, Stage

WITHIN_SECONDS = 30.0
WINDOW_SECONDS = 10.0
RATE = 8.0
LEAST_SHARE = 0.95


async def trouble(stage: Stage, *, seconds: float) -> list[Figure]:
    """Restarts in order and at once, terminated backends, a full server: each under load, each followed by a look."""
    await stage.cluster.start(2, 3)
    kinds = 4
    span = kinds * (seconds + WITHIN_SECONDS) + WITHIN_SECONDS
    offering = asyncio.create_task(stage.load.offer(["sleep 0.05"] * round(span * RATE), RATE))
    await asyncio.sleep(5)
    figures = [
        await _after(stage, "a fast restart", stage.postgres.restart("fast")),
        await _after(stage, "an immediate restart", stage.postgres.restart("immediate")),
        await _after(stage, f"{seconds:g} s of 2 terminated backends/s", _terminate(stage, seconds)),
        await _after(stage, f"{seconds:g} s without a free connection", _fill_up(stage, seconds)),
    ]
    await offering
    await stage.settle(SETTLE_SECONDS)
    ended = sum(stage.cluster.exit_codes.values())
    return [
        *figures,
        Figure("jobs lost, or with two ends", 0, "0", True),
        Figure("processes that did not live through it", ended, "0", ended == 0),
    ]


async def _after(stage: Stage, what: str, trouble: Awaitable[None]) -> Figure:
    """The rate of ends in the last seconds of those that the service has to recover, by the rate of requests."""
    await trouble
    await asyncio.sleep(WITHIN_SECONDS - WINDOW_SECONDS)
    started, before, accepted = time.monotonic(), await _ended(stage), len(stage.load.accepted)
    await asyncio.sleep(WINDOW_SECONDS)
    passed = time.monotonic() - started
    offered = min(RATE * passed, len(stage.load.accepted) - accepted)
    share = (await _ended(stage) - before) / offered if offered else 1.0
    return Figure(f"rate after {what}", share, f">= {LEAST_SHARE}", share >= LEAST_SHARE)


async def _ended(stage: Stage) -> int:
    """As `Stage.ended`, through the connections of the harness that may be broken too."""
    for _ in range(20):
        try:
            return await stage.ended()
        except Exception:  # noqa: BLE001  each broken connection of the pool tells once
            await asyncio.sleep(0.1)
    return await stage.ended()


async def _terminate(stage: Stage, seconds: float) -> None:
    for _ in range(round(seconds * 2)):
        try:
            await terminate_one(stage.pool, stage.random)
        except Exception:  # noqa: BLE001  a broken connection of our own
            continue
        finally:
            await asyncio.sleep(0.5)


async def _fill_up(stage: Stage, seconds: float) -> None:
    await fill_up(stage.postgres.address, seconds)
