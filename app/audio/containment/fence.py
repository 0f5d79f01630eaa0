"""Limits and contains the decoder's process, and closes the service's memory to other processes.

It exists because FFmpeg parses bytes of strangers, and a fault in it must not give away keys, recordings or the
database. Each piece is used if the kernel has it. The decoder's program imports this module, so it may import only the
standard library and its neighbours.
"""

import ctypes
import os
import resource
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from app.audio.containment import landlock, seccomp

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_NO_NEW_PRIVS = 1, 4, 38  # linux/prctl.h
NICENESS = 5  # a decoder gets a third of the processor time that a thread of the model or the heartbeats get
OOM_SCORE = 1000  # if memory runs out, the kernel ends a decoder first, because its job is only tried again


def close_to_other_processes() -> bool:
    """Close this process's memory and environment to all other processes except root's, also to those of the same user.

    From then on only root can trace the process (gdb, py-spy), and it writes no core dump. Returns whether it worked.
    """
    return _prctl(PR_SET_DUMPABLE, 0)


def depend_on_the_service() -> None:
    """Let the kernel end this process when the service ends, and before the service if memory runs out."""
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    _write("oom_score_adj", OOM_SCORE)


def yield_the_processor() -> None:
    """Lower the priority of this process and of its session.

    Both are needed, because a kernel that gives each session an equal share of the processor (autogroup) uses niceness
    only within a session.
    """
    with suppress(OSError):
        os.nice(NICENESS)
    _write("autogroup", NICENESS)


def _write(name: str, value: int) -> None:
    with suppress(OSError):  # the kernel does not have it, or this process may not write it
        Path("/proc/self", name).write_text(str(value))


def limit(memory_bytes: int, cpu_seconds: int, file_bytes: int) -> None:
    """Limit the memory, CPU time and file sizes of this process, and let it start no process.

    The soft limit of CPU time is lower than the hard one, so that a process that uses up its time ends by SIGXCPU and
    not by SIGKILL, which could also come from outside.
    """
    for kind, soft, hard in (
        (resource.RLIMIT_CPU, cpu_seconds, cpu_seconds + 5),
        (resource.RLIMIT_AS, memory_bytes, memory_bytes),
        (resource.RLIMIT_FSIZE, file_bytes, file_bytes),
        (resource.RLIMIT_NOFILE, 32, 32),
        (resource.RLIMIT_NPROC, 0, 0),
        (resource.RLIMIT_CORE, 0, 0),
    ):
        most = resource.getrlimit(kind)[1]  # the process may not ask for more than it was started with
        allowed = hard if most == resource.RLIM_INFINITY else min(hard, most)
        resource.setrlimit(kind, (min(soft, allowed), allowed))


def contain() -> dict[str, int]:
    """Take from this process everything except the files that it has open. This cannot be undone.

    Returns what contains it. For Landlock that is its version. A piece that the kernel does not have is 0.
    """
    return {
        "no_new_privileges": _prctl(PR_SET_NO_NEW_PRIVS, 1),
        "landlock": _if_present(landlock.close_all_files),
        "seccomp": _if_present(seccomp.refuse_all_but_decoding),
    }


def _if_present(piece: Callable[[], int]) -> int:
    try:
        return piece() if sys.platform == "linux" else 0
    except OSError:
        return 0


def _prctl(option: int, value: int) -> bool:
    if sys.platform != "linux":
        return False
    return bool(ctypes.CDLL(None).prctl(option, ctypes.c_ulong(value), 0, 0, 0) == 0)
