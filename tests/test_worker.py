"""The parts of a process, taken together."""

import asyncio
from typing import Any, cast

from app.worker import Parts


class Draining:
    """Counts how often it is told to end."""

    def __init__(self) -> None:
        self.drained = 0

    async def drain(self, grace_seconds: float) -> None:
        self.drained += 1

    async def idle(self) -> None:
        pass


async def test_parts_are_drained_once_however_often_they_are_told() -> None:
    runner, sender = Draining(), Draining()
    unused = cast("Any", None)
    parts = Parts(
        database=unused,
        signals=unused,
        store=unused,
        free_space=unused,
        fetcher=unused,
        retention=unused,
        stop=asyncio.Event(),
        guard=unused,
        sender=cast("Any", sender),
        runner=cast("Any", runner),
    )
    await parts.drain()
    await parts.drain()
    assert (runner.drained, sender.drained) == (1, 1)
