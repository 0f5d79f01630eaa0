"""Which log lines are written at which level."""

import subprocess
import sys

import pytest

PROGRAM = """
import logging, structlog
from app.telemetry import set_up_logging
set_up_logging("json", {level!r})
for write in ("debug", "info", "warning", "error"):
    getattr(structlog.stdlib.get_logger("callscribe.jobs"), write)("own " + write)
    getattr(logging.getLogger("a_library"), write)("library " + write)
"""
OWN = ["own debug", "own info", "own warning", "own error"]
LIBRARY = ["library info", "library warning", "library error"]


@pytest.mark.parametrize(
    ("level", "own", "library"),
    [
        ("debug", OWN, LIBRARY),
        ("info", OWN[1:], LIBRARY),
        ("warning", OWN[2:], LIBRARY[1:]),
        ("error", OWN[3:], LIBRARY[2:]),
    ],
)
def test_the_level_leaves_out_less_important_lines_and_libraries_never_debug(
    level: str, own: list[str], library: list[str]
) -> None:
    command = [sys.executable, "-c", PROGRAM.format(level=level)]
    log = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    events = [part for line in log.splitlines() for part in (*OWN, "library debug", *LIBRARY) if f'"{part}"' in line]
    assert sorted(events) == sorted(own + library)
