"""Stops work for a client that hangs up before its answer.

It exists so that abandoned requests take no time from others. It must not know what the work is.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, NoReturn, TypeVar

from starlette.requests import ClientDisconnect
from starlette.types import Receive

T = TypeVar("T")


async def hang_up(receive: Receive) -> NoReturn:
    """Wait for the client to hang up, and raise ClientDisconnect then. For requests whose body has been read.

    A client that only closes its sending side counts as hung up, because uvicorn then closes the other side.
    """
    while (await receive())["type"] != "http.disconnect":
        pass
    raise ClientDisconnect


async def unless(hanging_up: Coroutine[Any, Any, NoReturn], work: Coroutine[Any, Any, T]) -> T:
    """What `work` returns or raises. If `hanging_up` raises first, cancels the work and waits for its end."""
    watching, working = asyncio.create_task(hanging_up), asyncio.create_task(work)
    try:
        await asyncio.wait({watching, working}, return_when=asyncio.FIRST_COMPLETED)
        return await (working if working.done() else watching)
    finally:
        for task in (watching, working):
            task.cancel()
        await asyncio.gather(watching, working, return_exceptions=True)
