"""Finds out what this machine's processor can do, and sets it and the memory up, so that operators need not."""

import ctypes
import os
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import ceil, inf
from pathlib import Path

INSTRUCTIONS = "CT2_FORCE_CPU_ISA"
M_ARENA_MAX = -8  # of malloc.h
ARENAS = 2
CGROUP = Path("/sys/fs/cgroup")
QUOTAS = (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"))  # of version 2 and 1
AVX512 = frozenset({"avx512f", "avx512cd", "avx512vl", "avx512bw", "avx512dq"})


def best_instructions(environ: Mapping[str, str], flags: frozenset[str]) -> dict[str, str]:
    """The variables that make CTranslate2 use AVX-512 if the processor has it. By itself CTranslate2 never does.

    Empty if the user has set the variable. `flags` are those of `/proc/cpuinfo`.
    """
    return {INSTRUCTIONS: "AVX512"} if flags >= AVX512 and INSTRUCTIONS not in environ else {}


@contextmanager
def chosen_instructions() -> Iterator[None]:
    """Sets the variables only while models are loaded, when CTranslate2 reads them. So no child inherits them."""
    variables = best_instructions(os.environ, _flags())
    os.environ.update(variables)
    try:
        yield
    finally:
        for name in variables:
            del os.environ[name]


def cores(cgroup: Path = CGROUP) -> int:
    """How many cores this process may use, by its affinity and by the quota of its container."""
    own = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return ceil(min(own, _quota(cgroup)))


def _quota(cgroup: Path) -> float:
    """Seconds of processor time per second; infinite without a limit."""
    for names in QUOTAS:
        paths = [cgroup / name for name in names]
        if all(path.is_file() for path in paths):
            quota, period = " ".join(path.read_text() for path in paths).split()
            return inf if quota in ("max", "-1") else int(quota) / int(period)
    return inf


def share_memory() -> None:
    """Makes threads share the memory that each has freed. Otherwise each keeps as much as its largest batch took.

    There are two arenas. Each further one would keep memory of its own (decision 6). With only one, the event loop
    would wait for a lock behind the model's threads. Call this at the start, because the C library ignores it once it
    has more than eight arenas. Does nothing if the user has set a number.
    """
    chosen = "MALLOC_ARENA_MAX" in os.environ or "malloc.arena_max" in os.environ.get("GLIBC_TUNABLES", "")
    if platform.libc_ver()[0] == "glibc" and not chosen:
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, ARENAS)


def return_memory() -> None:
    """Gives free memory back to the system, if the C library keeps it."""
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


def _flags() -> frozenset[str]:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    return frozenset(next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), []))
