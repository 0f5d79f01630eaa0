"""Closes all files to a process by Landlock, a part of Linux. Files that are already open stay usable.

The service uses both Landlock and a seccomp filter, because a machine may have only one of them.
"""

import ctypes
import os
from typing import Final

CREATE_RULESET, RESTRICT_SELF = 444, 446  # system calls, the same on every architecture
VERSION: Final = 1  # a flag: report the version of the interface instead of making a ruleset
FILE_RIGHTS_BY_VERSION = ((5, 16), (3, 15), (2, 14), (1, 13))  # linux/landlock.h: a bit for each right
NETWORK_VERSION, NETWORK_RIGHTS = 4, 0b11  # bind and connect by TCP
SCOPE_VERSION, SCOPES = 6, 0b11  # abstract Unix sockets, and signals to processes outside


class Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scopes", ctypes.c_uint64))


def version() -> int:
    """Returns the version of the kernel's Landlock. It is 0 if there is none, or if this process cannot use it."""
    try:
        return max(_system_call(CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(VERSION)), 0)
    except OSError:
        return 0


def close_all_files() -> int:
    """Forbid this process and its children the use of any path. The process must have set `no_new_privs` before.

    Returns the version of Landlock, or 0 if there is none. Raises OSError if the kernel refuses.
    """
    found = version()
    if found == 0:
        return 0
    ruleset = ruleset_of(found)
    size = ctypes.c_size_t(8 if found < NETWORK_VERSION else 16 if found < SCOPE_VERSION else 24)
    descriptor = _system_call(CREATE_RULESET, ctypes.byref(ruleset), size, ctypes.c_uint32(0))
    try:
        _system_call(RESTRICT_SELF, ctypes.c_int(descriptor), ctypes.c_uint32(0))
    finally:
        os.close(descriptor)
    return found


def ruleset_of(version: int) -> Ruleset:
    """Returns a ruleset with everything that Landlock of this version can forbid."""
    return Ruleset(
        files=(1 << next(bits for least, bits in FILE_RIGHTS_BY_VERSION if version >= least)) - 1,
        network=NETWORK_RIGHTS if version >= NETWORK_VERSION else 0,
        scopes=SCOPES if version >= SCOPE_VERSION else 0,
    )


def _system_call(number: int, *arguments: object) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    result: int = libc.syscall(ctypes.c_long(number), *arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
