"""Tries to break out of the decoder's process. What succeeds, a recording that has taken over the decoder could do too.

The decoder's program runs this when it is asked for a report. So this module may import only the standard library.
"""

import os
import socket
from collections.abc import Callable
from pathlib import Path

SERVICE = Path("/proc", str(os.getppid()), "environ")


def possible() -> list[str]:
    """Try everything that a contained process must not be able to do. Returns what succeeded, in words."""
    attempts: dict[str, Callable[[], object]] = {
        "open files": lambda: os.open("/", os.O_RDONLY),
        "read the service's environment": SERVICE.read_bytes,
        "use the network": socket.socket,
        "start processes": _fork,
    }
    return [name for name, attempt in attempts.items() if _succeeds(attempt)]


def _succeeds(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except OSError:
        return False
    return True


def _fork() -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
