"""Looks up the addresses of host names, so that a name whose server hangs does not delay other names.

A look-up cannot be stopped. When its caller gives up, it goes on in its thread for half a minute or more. The event
loop has few threads of its own for look-ups (two with uvloop), and connecting to the database needs them too. So each
look-up gets a thread here. Which addresses are allowed is the guard's decision.
"""

import asyncio
import socket
from functools import partial
from ipaddress import IPv4Address, IPv6Address, ip_address
from weakref import WeakValueDictionary

from app.process.threads import in_daemon_thread

LOOK_UPS = 128  # at the same time: half for deliveries and fetches, half for look-ups whose caller has given up
LOOK_UPS_PER_NAME = 2

Address = IPv4Address | IPv6Address


class Names:
    """Runs at most LOOK_UPS look-ups at the same time, and at most LOOK_UPS_PER_NAME for each name."""

    def __init__(self) -> None:
        self._places = asyncio.Semaphore(LOOK_UPS)
        self._places_of: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    async def look_up(self, name: str) -> list[Address]:
        """Returns the addresses of a name, without repetitions. Raises OSError or UnicodeError if it has none.

        Waits while too many look-ups are under way. If the caller is cancelled, the look-up goes on in its thread.
        """
        of_name = self._places_of.setdefault(name.rstrip(".").lower(), asyncio.Semaphore(LOOK_UPS_PER_NAME))
        await of_name.acquire()
        try:
            await self._places.acquire()
        except BaseException:
            of_name.release()
            raise
        look_up = asyncio.create_task(in_daemon_thread(partial(_addresses, name), "look-up"))

        def release(_: object) -> None:
            of_name.release()
            self._places.release()

        look_up.add_done_callback(release)
        return await asyncio.shield(look_up)


def _addresses(name: str) -> list[Address]:
    found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(ip_address(entry[4][0]) for entry in found))
