"""Stops work for a client that hangs up before its answer.

It exists so that abandoned requests take no time from others. It must not know what the work is.
"""

from typing import NoReturn

from starlette.requests import ClientDisconnect
from starlette.types import Receive


async def hang_up(receive: Receive) -> NoReturn:
    """Wait for the client to hang up, and raise ClientDisconnect then. For requests whose body has been read.

    A client that only closes its sending side counts as hung up, because uvicorn then closes the other side.
    """
    while (await receive())["type"] != "http.disconnect":
        pass
    raise ClientDisconnect
