"""Work that ends early: when its result is not needed any more, or after a time."""

import asyncio
from collections.abc import Awaitable, Coroutine
from typing import Any, NoReturn, TypeVar

T = TypeVar("T")


async def never() -> NoReturn:
    """Wait until cancelled."""
    await asyncio.get_running_loop().create_future()
    raise AssertionError


async def run_unless(giving_up: Coroutine[Any, Any, NoReturn], work: Coroutine[Any, Any, T]) -> T:
    """Do the work unless `giving_up` raises first. Returns or raises what `work` does.

    If `giving_up` raises, the work is cancelled. When it has ended, the error of `giving_up` is raised.
    """
    watching, working = asyncio.create_task(giving_up), asyncio.create_task(work)
    try:
        await asyncio.wait({watching, working}, return_when=asyncio.FIRST_COMPLETED)
        return await (working if working.done() else watching)
    finally:
        for task in (watching, working):
            task.cancel()
        await asyncio.gather(watching, working, return_exceptions=True)


async def within(seconds: float | None, awaited: Awaitable[T]) -> T:
    """Await, but for at most `seconds`. Raises TimeoutError.

    `asyncio.wait_for` of Python 3.11 loses a cancellation that comes when the result is just there. A loop around it
    would go on, and the process would never end.
    """
    async with asyncio.timeout(seconds):
        return await awaited
