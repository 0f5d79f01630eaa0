"""What holds the decoder's child beside its limits, and what closes the service's memory to other processes.

It exists because FFmpeg parses bytes of strangers: a fault in it must not give away keys, recordings or the database.
Each piece is used where the kernel has it. It knows the standard library alone, as the child imports it.
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
NICENESS = 5  # a decoder gets a third of what a thread of the model or the heartbeats get
OOM_SCORE = 1000  # where memory runs out, the kernel ends a decoder before all else: its job is only tried again


def close_to_other_processes() -> bool:
    """Close this process's memory and environment to all but root, also to processes of the same user.

    It can then not be traced (gdb, py-spy) except by root, and writes no core dump. Returns whether that is so.
    """
    return _prctl(PR_SET_DUMPABLE, 0)


def depend_on_the_service() -> None:
    """End with the service, and before it where memory runs out."""
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    _write("oom_score_adj", OOM_SCORE)


def yield_the_processor() -> None:
    """Where each session gets an equal share (autogroup), niceness counts within a session only, so both are set."""
    with suppress(OSError):
        os.nice(NICENESS)
    _write("autogroup", NICENESS)


def _write(name: str, value: int) -> None:
    with suppress(OSError):  # it is not there, or may not be written
        Path("/proc/self", name).write_text(str(value))


def limit(memory_bytes: int, cpu_seconds: int, file_bytes: int) -> None:
    """The soft limit of CPU time comes first: its SIGXCPU tells it from a kill from outside."""
    for kind, soft, hard in (
        (resource.RLIMIT_CPU, cpu_seconds, cpu_seconds + 5),
        (resource.RLIMIT_AS, memory_bytes, memory_bytes),
        (resource.RLIMIT_FSIZE, file_bytes, file_bytes),
        (resource.RLIMIT_NOFILE, 32, 32),
        (resource.RLIMIT_NPROC, 0, 0),
        (resource.RLIMIT_CORE, 0, 0),
    ):
        most = resource.getrlimit(kind)[1]  # what this process was started with; it may not ask for more
        allowed = hard if most == resource.RLIM_INFINITY else min(hard, most)
        resource.setrlimit(kind, (min(soft, allowed), allowed))


def contain() -> dict[str, int]:
    """From now on this process can use the files that it has open, and nothing else.

    Returns which pieces hold it; 0 for one that the kernel does not have, of Landlock its version.
    """
    return {
        "no_new_privileges": _prctl(PR_SET_NO_NEW_PRIVS, 1),
        "landlock": _where_there_is(landlock.close_all_files),
        "seccomp": _where_there_is(seccomp.refuse_all_but_decoding),
    }


def _where_there_is(piece: Callable[[], int]) -> int:
    try:
        return piece() if sys.platform == "linux" else 0
    except OSError:
        return 0


def _prctl(option: int, value: int) -> bool:
    if sys.platform != "linux":
        return False
    return bool(ctypes.CDLL(None).prctl(option, ctypes.c_ulong(value), 0, 0, 0) == 0)
