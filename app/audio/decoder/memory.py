"""Whether the machine had no memory, or the recording asked for more than the process may have.

The first is no fault of the recording. FFmpeg and Python report both in the same way.
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
    """Whether the machine refused memory: this process cannot get all that its limit still allows.

    A recording that asks for more than the limit is at fault itself.
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
    """Called once before containment, because the contained process may not ask for its limits."""
    return resource.getrlimit(resource.RLIMIT_AS)[0]
