"""Waits in tests on the event loop for what no event reports."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from testing.service import POLL_SECONDS, WAIT_LIMIT_SECONDS


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    deadline = time.monotonic() + WAIT_LIMIT_SECONDS
    while not await condition():
        assert time.monotonic() < deadline, "it never happened"
        await asyncio.sleep(POLL_SECONDS)


async def soon(condition: Callable[[], bool]) -> None:
    async def holds() -> bool:
        return condition()

    await until(holds)
