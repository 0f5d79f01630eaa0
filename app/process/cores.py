"""How many processor cores this process may use."""

import os
from math import ceil, inf
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
QUOTAS = (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"))  # of version 2 and 1


def cores(cgroup: Path = CGROUP) -> int:
    """The number of cores, limited by the affinity of the process and by the quota of its container."""
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
