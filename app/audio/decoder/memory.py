"""Finds out whether the machine had no memory, or the recording asked for more than the process may have.

Only the second is the recording's fault. FFmpeg and Python report both in the same way.
"""

import errno
import mmap
import os
import resource
import sys
from functools import cache

USED = os.open("/proc/self/statm", os.O_RDONLY) if sys.platform == "linux" else None
MARGIN_BYTES = 4 * 1024 * 1024


def require_memory(error: Exception) -> None:
    """Raises OSError with ENOMEM if `error` means that the machine has no memory."""
    if is_lack_of_memory(error):
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)) from error


def is_lack_of_memory(error: Exception) -> bool:
    """Returns whether `error` is a lack of memory of the machine, and not of what this process may have.

    To find out, it tries to get all the memory that the limit of this process still allows.
    """
    if not isinstance(error, MemoryError) or USED is None:
        return False
    used = int(os.pread(USED, 100, 0).split()[0]) * mmap.PAGESIZE
    left = max(limit_bytes() - used - MARGIN_BYTES, mmap.PAGESIZE)
    try:
        mmap.mmap(-1, left, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS).close()
    except OSError:
        return True
    return False


@cache
def limit_bytes() -> int:
    """Returns this process's limit of memory. Call it before the containment, which forbids asking for it."""
    return resource.getrlimit(resource.RLIMIT_AS)[0]
