"""Sets up how the C library keeps the memory of this process, so that operators need not."""

import ctypes
import os
import platform

M_ARENA_MAX = -8  # of malloc.h
ARENAS = 2


def share_memory() -> None:
    """Makes threads use memory that other threads have freed. Otherwise each keeps as much as its largest batch took.

    There are two arenas. Each further arena would keep memory of its own (decision 6). With only one, the event loop
    would wait for a lock behind the model's threads. Call this when the process starts, because the C library ignores
    it once it has more than eight arenas. If the user has set a number of arenas, this does nothing.
    """
    chosen = "MALLOC_ARENA_MAX" in os.environ or "malloc.arena_max" in os.environ.get("GLIBC_TUNABLES", "")
    if platform.libc_ver()[0] == "glibc" and not chosen:
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, ARENAS)


def return_memory() -> None:
    """Gives free memory back to the system, if the C library keeps it."""
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)
