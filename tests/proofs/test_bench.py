"""The benchmark runs from end to end. What it measures is for a quiet machine to tell."""

import json
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest

from proofs.bench.calls import Call, given
from proofs.bench.lines import LINES, Recording
from proofs.bench.results import Row
from proofs.bench.sources import RATE, Samples
from proofs.bench.telephone import Score, count, gain
from proofs.bench.ways import WAYS
from testing.media import add_audio, dominant_frequency, mux_audio, tones
from testing.recordings import call

SAID = "Yes, of course. The order number is four seven two nine one."


def test_the_smallest_run_gives_a_table_and_keeps_results_and_a_plot(tmp_path: Path) -> None:
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
    assert row.wordless_words == 0
    assert row.error_rate is not None
    assert row.error_rate < 0.5  # digits are not written as they are said
    assert row.health_max_ms is not None
    assert f"{row.title} (`service`) | {row.speed:.1f} |" in done.stdout
    assert "polyline" in (output / "service.svg").read_text()


def test_a_folder_may_hold_streams_without_a_length_and_what_is_no_recording(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stream = streamed(tmp_path / "stream.webm", 0.3 * tones([440, 880], 48_000, 2.0), 48_000)
    with av.open(str(stream)) as container:
        assert container.duration is None
    (tmp_path / ".DS_Store").write_bytes(b"Bud1")
    (tmp_path / "call.json").write_text("{}")
    (tmp_path / "call.txt").write_text(SAID)
    (tmp_path / "call.wav").write_bytes(call(17.8, 22.8))

    spoken, endless = given(tmp_path)

    assert spoken == Call(tmp_path / "call.wav", 2, spoken.seconds, "given", texts=(SAID,))
    assert endless == Call(stream, 2, endless.seconds, "given")
    assert (spoken.seconds, endless.seconds) == pytest.approx((5, 2), abs=0.05)
    [left_out] = capsys.readouterr().err.splitlines()
    assert left_out.startswith("call.json is left out: ")


def streamed(path: Path, samples: Samples, rate: int) -> Path:
    """A WebM file as a browser records it, which does not say how long it is."""
    with av.open(str(path), "w", format="webm", options={"live": "1"}) as output:
        mux_audio(output, add_audio(output, "libopus", rate, len(samples)), samples)
    return path


@pytest.mark.parametrize("name", LINES)
def test_a_tone_comes_through_every_line(name: str, tmp_path: Path) -> None:
    [tone] = 0.3 * tones([440], RATE, 2.0)
    sent = LINES[name].send(tone, np.random.default_rng(0), tmp_path)
    assert len(sent) == pytest.approx(len(tone), abs=0.05 * RATE)
    assert dominant_frequency(sent, RATE) == pytest.approx(440, abs=2)


@pytest.mark.parametrize("name", WAYS)
def test_every_way_makes_16_khz_of_8(name: str) -> None:
    [tone] = 0.3 * tones([440], RATE, 4.0)
    ready = WAYS[name](tone)
    assert len(ready) == pytest.approx(2 * len(tone), abs=0.05 * 2 * RATE)
    assert dominant_frequency(ready) == pytest.approx(440, abs=2)
    assert np.abs(ready).max() <= 1


def test_words_wrong_missing_and_too_many_are_counted() -> None:
    spoken = Recording("en", "Could you give me your order number?", np.zeros(0, np.float32))
    assert count(spoken, "could you give my order number please") == (3, 7)
    assert count(spoken, "") == (7, 7)


def test_a_gain_that_comes_and_goes_is_not_sure() -> None:
    words = np.full(40, 50)
    today = Score(np.full(40, 10), words)
    worse, either = Score(np.full(40, 15), words), Score(np.tile([0, 20], 20), words)
    assert gain(worse, today) == pytest.approx((0.1, 0.1, 0.1))
    change, least, most = gain(either, today)
    assert (change, least < 0 < most) == (0, True)
