"""`make demo`, as far as the tests can go: the rest of it is what they all do."""

import os
import subprocess
import sys
from pathlib import Path

DEMO = Path(__file__).parent.parent / "samples" / "demo.py"


def test_the_device_may_be_chosen_and_nothing_else() -> None:
    chosen = {"CALLSCRIBE_DEVICE": "tpu", "CALLSCRIBE_MODEL": ","}
    ran = subprocess.run(
        [sys.executable, DEMO], env=os.environ | chosen, capture_output=True, text=True, timeout=300, check=False
    )
    assert ran.returncode == 1
    assert "CALLSCRIBE_DEVICE" in ran.stderr
    assert "CALLSCRIBE_MODEL" not in ran.stderr
