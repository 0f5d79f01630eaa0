"""Sets up how the C library keeps the memory of this process, so that operators need not."""

import ctypes
import os
import platform
import sys
from collections.abc import Mapping

# Parameters of mallopt, from malloc.h.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX, M_ARENA_MAX = -1, -2, -4, -8

ARENAS = 2
KEPT_BYTES = 2**31 - 1  # the most that mallopt takes
GROWTH_BYTES = 64 * 2**20  # by which the heap grows, so that it seldom has to

TUNABLES = "GLIBC_TUNABLES"
LARGE_PAGES = "glibc.malloc.hugetlb=1"
STARTED_AGAIN = "_CALLSCRIBE_STARTED_AGAIN"
"""Says that the process has started itself again, and holds what the user had in GLIBC_TUNABLES."""


def set_up_memory() -> None:
    """Makes the C library keep memory that is freed, in large pages, and share it between threads.

    CTranslate2 allocates and frees many megabytes in each layer. If the C library returned them, the system would map
    and clear them again each time, which takes a fifth of the processor time (decision 44).

    There are two arenas. Each further arena would keep memory of its own (decision 6). With only one, the event loop
    would wait for a lock behind the model's threads.

    Call this when a command begins, because the process starts itself again once: the C library reads only at its start
    whether to use large pages. It does nothing if the user has set a variable of the C library's memory.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    before = os.environ.pop(STARTED_AGAIN, None)
    if before is None:
        if chosen_by_user(os.environ):
            return
        _start_again()
    else:
        _restore(before)
    mallopt = ctypes.CDLL(None).mallopt
    for parameter, value in (
        (M_ARENA_MAX, ARENAS),
        (M_MMAP_MAX, 0),
        (M_TRIM_THRESHOLD, KEPT_BYTES),
        (M_TOP_PAD, GROWTH_BYTES),
    ):
        mallopt(parameter, value)


def chosen_by_user(environ: Mapping[str, str]) -> bool:
    """Whether a variable says how the C library should keep memory."""
    return any(name.startswith("MALLOC_") for name in environ) or "glibc.malloc." in environ.get(TUNABLES, "")


def return_memory() -> None:
    """Gives free memory back to the system, if the C library keeps it."""
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


def _start_again() -> None:
    """Replaces this program by itself, with large pages. The process keeps its number.

    If that is not possible, the program continues without large pages.
    """
    before = os.environ.get(TUNABLES, "")
    environ = {**os.environ, TUNABLES: ":".join(filter(None, (LARGE_PAGES, before))), STARTED_AGAIN: before}
    try:
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environ)  # noqa: S606  it is this program
    except OSError:
        return


def _restore(tunables: str) -> None:
    """Gives the processes that this one starts the user's own variable."""
    if tunables:
        os.environ[TUNABLES] = tunables
    else:
        del os.environ[TUNABLES]
