"""Notices that a client has hung up, so that nothing goes on for it."""

from typing import NoReturn

from fastapi import Request
from starlette.requests import ClientDisconnect


async def client_hangs_up(request: Request) -> NoReturn:
    """Waits until the client hangs up, then raises ClientDisconnect. The request's body must have been read before.

    A client that only closes its sending side counts as hung up, because uvicorn then closes the other side.
    """
    while (await request.receive())["type"] != "http.disconnect":
        pass
    raise ClientDisconnect
