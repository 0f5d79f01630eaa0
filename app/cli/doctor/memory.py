"""How much memory a new process may take without making others end."""

import re
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
MEMINFO = Path("/proc/meminfo")


def available_bytes() -> int | None:
    """The least of what the machine and the container have left. None if the system does not say."""
    found = [each for each in (_of_the_machine(), _of_the_container()) if each is not None]
    return min(found) if found else None


def _of_the_machine() -> int | None:
    try:
        match = re.search(r"MemAvailable:\s+(\d+) kB", MEMINFO.read_text())
    except OSError:
        return None
    return int(match[1]) * 1024 if match else None


def _of_the_container() -> int | None:
    """Of the second version of cgroups. Pages of files are counted as used, although the kernel would give them up."""
    try:
        limit = (CGROUP / "memory.max").read_text().strip()
        used = int((CGROUP / "memory.current").read_text())
        files = re.search(r"^file (\d+)", (CGROUP / "memory.stat").read_text(), re.MULTILINE)
    except (OSError, ValueError):
        return None
    return None if limit == "max" else int(limit) - used + (int(files[1]) if files else 0)
