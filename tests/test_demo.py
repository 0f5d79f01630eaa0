"""The settings and the end of `make demo`. The other tests cover what the service does."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from testing.service import eventually

DEMO = Path(__file__).parent.parent / "samples" / "demo.py"


def test_the_demo_reads_the_device_setting_and_no_other() -> None:
    chosen = {"CALLSCRIBE_DEVICE": "tpu", "CALLSCRIBE_MODEL": ","}
    ran = subprocess.run(
        [sys.executable, DEMO], env=os.environ | chosen, capture_output=True, text=True, timeout=300, check=False
    )
    assert ran.returncode == 1
    assert "CALLSCRIBE_DEVICE" in ran.stderr
    assert "CALLSCRIBE_MODEL" not in ran.stderr


def still_running(folder: Path) -> list[str]:
    """Returns the command lines of all processes that work in the folder, as PostgreSQL does."""
    commands = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if str(folder) in str((process / "cwd").readlink()):
                commands.append((process / "cmdline").read_text())
    return commands


@pytest.mark.slow
def test_ctrl_c_ends_the_demo_and_leaves_no_database_running(tmp_path: Path) -> None:
    demo = subprocess.Popen(
        [sys.executable, DEMO],
        env=os.environ | {"TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert demo.stdout is not None
    while "pending" not in demo.stdout.readline():
        assert demo.poll() is None
    assert still_running(tmp_path)
    os.killpg(demo.pid, signal.SIGINT)  # as a terminal does: to each process of the group
    output, _ = demo.communicate(timeout=60)
    assert (demo.returncode, output.splitlines()[-1]) == (130, "Interrupted; the service is stopped.")
    eventually(lambda: not still_running(tmp_path))
