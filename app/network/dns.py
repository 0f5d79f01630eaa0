"""The addresses of hosts' names. A name whose server hangs holds up no other name.

A look-up cannot be broken off: given up, it goes on in its thread for half a minute or more. An event loop has few
threads for it (two under uvloop), and connecting to the database needs them too.
"""

import asyncio
import socket
from functools import partial
from ipaddress import IPv4Address, IPv6Address, ip_address
from weakref import WeakValueDictionary

from app.process.threads import in_daemon_thread

LOOK_UPS = 128  # at once: as many as deliveries and fetches wait for, and as many that were given up
LOOK_UPS_PER_NAME = 2

Address = IPv4Address | IPv6Address


class Names:
    """Looks names up, at most two at once for each name."""

    def __init__(self) -> None:
        self._places = asyncio.Semaphore(LOOK_UPS)
        self._places_of: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    async def look_up(self, name: str) -> list[Address]:
        """A name's addresses, each once. Raises OSError and UnicodeError where it has none."""
        own = self._places_of.setdefault(name.rstrip(".").lower(), asyncio.Semaphore(LOOK_UPS_PER_NAME))
        await own.acquire()
        try:
            await self._places.acquire()
        except BaseException:
            own.release()
            raise
        asking = asyncio.create_task(in_daemon_thread(partial(_ask, name), "look-up"))

        def ended(_: object) -> None:
            own.release()
            self._places.release()

        asking.add_done_callback(ended)
        return await asyncio.shield(asking)


def _ask(name: str) -> list[Address]:
    found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(ip_address(entry[4][0]) for entry in found))
