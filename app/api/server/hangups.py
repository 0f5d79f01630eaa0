"""Notices that a client hangs up before its answer, so that the service can stop its work for that client."""

from typing import NoReturn

from starlette.requests import ClientDisconnect
from starlette.types import Receive


async def client_hangs_up(receive: Receive) -> NoReturn:
    """Wait until the client hangs up, then raise ClientDisconnect. The request's body must have been read before.

    A client that only closes its sending side counts as hung up, because uvicorn then closes the other side.
    """
    while (await receive())["type"] != "http.disconnect":
        pass
    raise ClientDisconnect
