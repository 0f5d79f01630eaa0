"""A test that hangs fails and shows where it hangs, also in the processes of pytest-xdist."""

import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).with_name("conftest.py")
HANGING = """
import asyncio, threading, time

async def test_hangs_in_a_task():
    await asyncio.Event().wait()

def test_hangs_in_a_thread():
    thread = threading.Thread(target=time.sleep, args=(5,), daemon=True)
    thread.start()
    thread.join()

def test_passes():
    pass
"""


@pytest.mark.slow
def test_a_test_that_hangs_fails_and_shows_where_it_hangs(tmp_path: Path) -> None:
    (tmp_path / "test_hanging.py").write_text(HANGING)
    (tmp_path / "conftest.py").write_text("from tests.conftest import _known_loop, pytest_runtest_makereport")
    root = CONFTEST.parents[1]
    command = (sys.executable, "-m", "pytest", "-c", root / "pyproject.toml", "--rootdir", root, tmp_path)
    options = ("--numprocesses", "1", "--timeout", "0.5", "-p", "no:cacheprovider")
    done = subprocess.run([*command, *options], cwd=root, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "2 failed, 1 passed" in done.stdout
    assert "await asyncio.Event().wait()" in done.stdout.partition("Stacks of the asyncio tasks")[2]
    assert "thread.join()" in done.stdout
