"""Runs the smallest benchmark from end to end. It does not check speeds, because these need a quiet machine."""

import json
import subprocess
import sys
from pathlib import Path

import av
import pytest

from proofs.bench.calls import Call, recordings_in
from proofs.bench.results import Row
from proofs.bench.sources import Samples
from testing.media import add_audio, mux_audio, tones
from testing.recordings import call

SAID = "Yes, of course. The order number is four seven two nine one."


@pytest.mark.slow
@pytest.mark.timeout(170)
def test_the_smallest_run_prints_a_table_and_saves_results_and_a_plot(tmp_path: Path) -> None:
    recordings, output = tmp_path / "recordings", tmp_path / "output"
    recordings.mkdir()
    (recordings / "call.wav").write_bytes(call(17.8, 22.8))
    (recordings / "call.txt").write_text(SAID)
    command = [sys.executable, "-m", "proofs.bench", str(recordings), "--quick", "--only", "d", "--output", str(output)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    [contender] = json.loads((output / "results.json").read_text())["contenders"]
    row = Row(**contender)
    assert row.clients == 1
    assert row.words_per_hour is not None
    assert row.invented.keys() <= {"babble", "singer", "baritone"}  # these three resemble speech
    assert row.error_rate is not None
    assert row.error_rate < 0.5  # the model writes digits for spoken numbers
    assert row.health_max_ms is not None
    assert f"{row.title} (`service`) | {row.speed:.1f} |" in done.stdout
    assert "polyline" in (output / "service.svg").read_text()


def test_a_folder_may_hold_recordings_without_a_length_and_other_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stream = streamed(tmp_path / "stream.webm", 0.3 * tones([440, 880], 48_000, 2.0), 48_000)
    with av.open(str(stream)) as container:
        assert container.duration is None
    (tmp_path / ".DS_Store").write_bytes(b"Bud1")
    (tmp_path / "call.json").write_text("{}")
    (tmp_path / "call.txt").write_text(SAID)
    (tmp_path / "call.wav").write_bytes(call(17.8, 22.8))

    spoken, endless = recordings_in(tmp_path)

    assert spoken == Call(tmp_path / "call.wav", 2, spoken.seconds, "given", texts=(SAID,))
    assert endless == Call(stream, 2, endless.seconds, "given")
    assert (spoken.seconds, endless.seconds) == pytest.approx((5, 2), abs=0.05)
    [left_out] = capsys.readouterr().err.splitlines()
    assert left_out.startswith("call.json is left out: ")


def streamed(path: Path, samples: Samples, rate: int) -> Path:
    """A WebM file without a length in its header, as a browser records it."""
    with av.open(str(path), "w", format="webm", options={"live": "1"}) as output:
        mux_audio(output, add_audio(output, "libopus", rate, len(samples)), samples)
    return path
