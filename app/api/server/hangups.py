"""Clients that hang up before their answer: what was begun for them ends."""

from typing import NoReturn

from starlette.requests import ClientDisconnect
from starlette.types import Receive


async def hang_up(receive: Receive) -> NoReturn:
    """Wait for the client to hang up, and raise ClientDisconnect then. For requests whose body has been read.

    One that closes its sending side alone has hung up too: uvicorn closes the other.
    """
    while (await receive())["type"] != "http.disconnect":
        pass
    raise ClientDisconnect
