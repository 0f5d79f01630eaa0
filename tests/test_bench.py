"""The benchmark runs from end to end. What it measures is for a quiet machine to tell."""

import json
import subprocess
import sys
from pathlib import Path

from bench.results import Row
from tests.recordings import call

SAID = "Yes, of course. The order number is four seven two nine one."


def test_the_smallest_run_gives_a_table_and_keeps_results_and_a_plot(tmp_path: Path) -> None:
    recordings, output = tmp_path / "recordings", tmp_path / "output"
    recordings.mkdir()
    (recordings / "call.wav").write_bytes(call(17.8, 22.8))
    (recordings / "call.txt").write_text(SAID)
    command = [sys.executable, "-m", "bench", str(recordings), "--quick", "--only", "d", "--output", str(output)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    [contender] = json.loads((output / "results.json").read_text())["contenders"]
    row = Row(**contender)
    assert row.clients == 1
    assert row.wordless_words == 0
    assert row.error_rate is not None
    assert row.error_rate < 0.5  # digits are not written as they are said
    assert row.health_max_ms is not None
    assert f"{row.title} (`service`) | {row.speed:.1f} |" in done.stdout
    assert "polyline" in (output / "service.svg").read_text()
