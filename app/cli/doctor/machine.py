"""Facts of this machine, and the check of its limit of open files."""

import os
import platform
import resource
from pathlib import Path
from typing import Any

from app import __version__
from app.cli.doctor.findings import Finding, failed, fine, warning
from app.cli.doctor.folders import size
from app.cli.doctor.surroundings import Surroundings
from app.process.cores import cores
from app.process.open_files import OWN_FILES, PLENTY, connections_within
from app.wording import of_count

FEWEST_FILES = 2 * OWN_FILES
ENOUGH_FILES = 20_000
RAISE = "Raise it: `ulimit -Hn` of a shell, LimitNOFILE= of systemd, `ulimits` of compose. 20,000 is plenty."
MEMORY_LIMITS = ("memory.max", "memory/memory.limit_in_bytes")  # of cgroup version 2 and 1


def facts() -> dict[str, Any]:
    return {
        "version": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cores": cores(),
        "memory_bytes": _memory(),
        "user_is_root": os.geteuid() == 0,
    }


def in_words(known: dict[str, Any]) -> str:
    memory = f", {size(known['memory_bytes'])} of memory" if known["memory_bytes"] else ""
    root = ", as root" if known["user_is_root"] else ""
    program = f"Callscribe {known['version']}, Python {known['python']}"
    return f"{program}, {known['system']}, {of_count(known['cores'], 'core', 'cores')}{memory}{root}"


def _memory(cgroup: Path = Path("/sys/fs/cgroup")) -> int | None:
    """The bytes that this process may use: the machine's, or its container's if that has fewer."""
    try:
        found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    except (ValueError, OSError):
        return None
    for name in MEMORY_LIMITS:
        path = cgroup / name
        text = path.read_text().strip() if path.is_file() else ""
        found += [int(text)] if text.isdigit() else []
    return min(found)


async def open_files(_: Surroundings) -> Finding:
    """The service raises its soft limit to the hard one, so the hard one counts."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    limit = PLENTY if hard == resource.RLIM_INFINITY else hard
    text = f"a process started here may open {limit:,} files, enough for {connections_within(limit):,} connections"
    if limit < FEWEST_FILES:
        return failed(f"{text}. It needs {OWN_FILES} files itself", RAISE, limit=limit)
    if limit < ENOUGH_FILES:
        return warning(text, RAISE, limit=limit)
    return fine(text, limit=limit)
