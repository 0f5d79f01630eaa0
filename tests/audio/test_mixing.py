"""A mix keeps usual calls as they are, and raises a side that is much quieter than the other."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from app.audio.mixing import gains_of, mix
from app.audio.pcm import PcmFile

TURN_BLOCKS = 30
NOISE_DB = -70.0
Levels = NDArray[np.float32]


def turns(*speech_db: float, noise_db: float = NOISE_DB) -> Levels:
    """Levels of a call in which the channels speak one after the other, twice, at these levels."""
    count = len(speech_db)
    levels = np.full((2 * count * TURN_BLOCKS, count), noise_db, np.float32)
    for turn in range(2 * count):
        levels[turn * TURN_BLOCKS : (turn + 1) * TURN_BLOCKS, turn % count] = speech_db[turn % count]
    return levels


def gains_db(levels: Levels) -> list[float]:
    return [round(float(gain), 1) for gain in 20 * np.log10(gains_of(levels))]


@pytest.mark.parametrize("speech", [(-20, -20), (-15, -30), (-12, -31), (-25,), (-20, -25, -30)])
def test_channels_of_usual_levels_are_not_changed(speech: Sequence[float]) -> None:
    assert gains_db(turns(*speech)) == [0] * len(speech)


def test_the_quiet_side_is_raised_until_the_model_hears_it() -> None:
    assert gains_db(turns(-10, -40)) == [0, 20]
    assert gains_db(turns(-40, -10)) == [20, 0]
    assert gains_db(turns(-10, -15, -38)) == [0, 0, 18]


def test_noise_is_not_raised_to_be_heard() -> None:
    assert gains_db(turns(-10, -45, noise_db=-58)) == [0, 8]


def test_an_even_noise_and_a_dead_channel_are_not_raised() -> None:
    levels = turns(-15, -20)
    levels[:, 1] = -50
    assert gains_db(levels) == [0, 0]
    levels[:, 1] = -120
    assert gains_db(levels) == [0, 0]


def test_an_echo_of_the_other_side_is_not_raised() -> None:
    levels = turns(-15, -20)
    levels[:, 1] = levels[:, 0] - 30
    assert gains_db(levels) == [0, 0]


def test_a_recording_that_is_too_short_to_know_is_not_changed() -> None:
    assert gains_db(turns(-10, -40)[:3]) == [0, 0]


def channel(path: Path, samples: NDArray[np.float64]) -> PcmFile:
    path.write_bytes(np.rint(samples).astype("<i2").tobytes())
    return PcmFile(path)


def test_a_mix_is_the_mean_and_replaces_the_channels(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    sounds = [rng.normal(0, 3_000, 50_001) for _ in range(3)]
    files = [channel(tmp_path / str(place), sound) for place, sound in enumerate(sounds)]
    mixed = mix(files, tmp_path / "mix")
    assert mixed.read(0, 60_000) * 32_768 == pytest.approx(np.mean(sounds, axis=0), abs=1.1)
    assert [path.name for path in tmp_path.iterdir()] == ["mix"]


def test_a_mix_of_nothing_is_nothing(tmp_path: Path) -> None:
    files = [channel(tmp_path / name, np.zeros(0)) for name in "ab"]
    assert mix(files, tmp_path / "mix").samples == 0


def test_a_quiet_side_is_in_the_mix(tmp_path: Path) -> None:
    rng, second = np.random.default_rng(2), 16_000
    loud, quiet = rng.normal(0, 20, 8 * second), rng.normal(0, 0.5, 8 * second)
    loud[: 4 * second] += rng.normal(0, 8_000, 4 * second)
    quiet[4 * second :] += rng.normal(0, 200, 4 * second)
    mixed = mix([channel(tmp_path / "a", loud), channel(tmp_path / "b", quiet)], tmp_path / "mix")
    sides = [float(np.std(mixed.read(start, 3 * second))) for start in (0, 4 * second)]
    assert 20 * np.log10(sides[1] / sides[0]) == pytest.approx(-10, abs=1)
