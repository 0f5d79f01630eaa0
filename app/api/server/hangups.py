"""Clients that hang up before their answer: what was begun for them ends."""

import asyncio
from collections.abc import Coroutine
from typing import Any, NoReturn, TypeVar

from starlette.requests import ClientDisconnect
from starlette.types import Receive

T = TypeVar("T")


async def hang_up(receive: Receive) -> NoReturn:
    """Wait for the client to hang up, and raise ClientDisconnect then. For requests whose body has been read.

    One that closes its sending side alone has hung up too: uvicorn closes the other.
    """
    while (await receive())["type"] != "http.disconnect":
        pass
    raise ClientDisconnect


async def unless(hanging_up: Coroutine[Any, Any, NoReturn], work: Coroutine[Any, Any, T]) -> T:
    """What `work` returns or raises; or what `hanging_up` raises before, when the work is cancelled and has ended."""
    watching, working = asyncio.create_task(hanging_up), asyncio.create_task(work)
    try:
        await asyncio.wait({watching, working}, return_when=asyncio.FIRST_COMPLETED)
        return await (working if working.done() else watching)
    finally:
        for task in (watching, working):
            task.cancel()
        await asyncio.gather(watching, working, return_exceptions=True)
