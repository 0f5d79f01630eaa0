"""The settings of `make demo`. The other tests cover what it does with them."""

import os
import subprocess
import sys
from pathlib import Path

DEMO = Path(__file__).parent.parent / "samples" / "demo.py"


def test_the_demo_reads_the_device_setting_and_no_other() -> None:
    chosen = {"CALLSCRIBE_DEVICE": "tpu", "CALLSCRIBE_MODEL": ","}
    ran = subprocess.run(
        [sys.executable, DEMO], env=os.environ | chosen, capture_output=True, text=True, timeout=300, check=False
    )
    assert ran.returncode == 1
    assert "CALLSCRIBE_DEVICE" in ran.stderr
    assert "CALLSCRIBE_MODEL" not in ran.stderr
