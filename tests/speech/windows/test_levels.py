import numpy as np
import pytest

from app.audio.pcm import SAMPLE_RATE
from app.speech.windows.levels import likeness, loudness, measure
from tests.speech.conftest import Record, noise, silence


def test_equal_channels_are_found_at_any_level_and_through_a_codec(record: Record) -> None:
    sound = noise(30)
    coarse = np.round(sound * 0.5 * 2048) / 2048

    levels = measure([record(sound), record(sound), record(coarse.astype(np.float32))])

    assert levels.copy_of == (None, 0, 0)
    assert levels.distinct == (0,)


def test_the_first_of_channels_that_are_about_equal_is_kept(record: Record) -> None:
    assert measure([record(noise(3)), record(noise(3) * np.float32(1.01))]).copy_of == (None, 0)


def test_the_loudest_of_equal_channels_is_kept(record: Record) -> None:
    sound = noise(3)
    assert measure([record(sound * np.float32(0.1)), record(sound)]).copy_of == (1, None)


@pytest.mark.parametrize("bleed_db", [-20, -15, -10, -3])
def test_bleed_is_not_a_copy(record: Record, bleed_db: float) -> None:
    gain = np.float32(10 ** (bleed_db / 20))
    agent, customer = np.concatenate([noise(5), silence(5)]), np.concatenate([silence(5), noise(5)])

    levels = measure([record(agent + gain * customer), record(customer + gain * agent)])

    assert levels.copy_of == (None, None)


@pytest.mark.parametrize("seconds", [15, 1])
def test_a_channel_with_a_faint_voice_in_a_pause_is_not_a_copy(record: Record, seconds: float) -> None:
    agent, customer = noise(100), np.float32(10 ** (-24 / 20)) * noise(seconds)
    pause = silence(seconds)

    assert measure([record(agent, pause), record(agent, customer)]).copy_of == (None, None)
    assert measure([record(agent, pause), record(agent, pause)]).copy_of == (None, 0)


def test_silent_channels_are_not_copies(record: Record) -> None:
    levels = measure([record(silence(2)), record(silence(2)), record(noise(1))])

    assert levels.copy_of == (None, None, None)
    assert [levels.is_silent(channel) for channel in range(3)] == [True, True, False]


def test_clipping_is_reported_as_a_share_of_the_samples(record: Record) -> None:
    loud = np.clip(noise(25) * 40, -0.98, 0.98)

    clipped = measure([record(loud.astype(np.float32)), record(noise(25))]).clipped

    assert clipped[0] == pytest.approx(np.mean(np.abs(loud) >= 0.98), abs=0.01)
    assert clipped[1] == 0


def test_loudness_is_measured_for_each_second_without_a_constant_offset(record: Record) -> None:
    quiet, loud = noise(1) * np.float32(0.1), noise(1)
    offset = np.full(SAMPLE_RATE // 4, 0.2, np.float32)

    levels = measure([record(quiet, loud, silence(1), offset + noise(0.25)), record(silence(2))])

    assert levels.by_second[0] == pytest.approx((0.005, 0.05, 0, 0.05), abs=0.001)
    assert levels.by_second[1] == (0, 0, 0, 0)


def test_a_recording_without_samples_is_measured(record: Record) -> None:
    levels = measure([record(silence(0))])

    assert (levels.rms, levels.clipped, levels.distinct) == ((0.0,), (0.0,), (0,))


def test_loudness_is_measured_between_two_times(record: Record) -> None:
    pcm = record(silence(1), np.tile(np.array([0.5, -0.5], np.float32), 8_000) + np.float32(0.1))

    assert loudness(pcm, 0, 1) == 0
    assert loudness(pcm, 1, 9) == pytest.approx(0.5, abs=1e-3)
    assert loudness(pcm, 9, 10) == 0


@pytest.mark.parametrize("delay", [0, 0.15])
def test_a_faint_late_copy_is_alike_beside_noise(record: Record, delay: float) -> None:
    voice = noise(4)
    copy = np.concatenate([silence(delay), voice])[: len(voice)] * np.float32(0.1)
    hum = np.random.default_rng(5).normal(0, 0.1 * np.std(copy), len(voice)).astype(np.float32)

    assert likeness(record(copy + hum), record(voice), 1, 1.5) == pytest.approx(1, abs=0.02)


def test_another_sound_is_not_alike(record: Record) -> None:
    hum = np.random.default_rng(5).normal(0, 0.1, 4 * SAMPLE_RATE).astype(np.float32)
    pcm, other = record(noise(4)), record(hum)

    assert likeness(pcm, other, 1, 1.5) < 0.1
    assert likeness(pcm, record(silence(4)), 1, 1.5) == 0
    assert likeness(record(silence(4)), other, 1, 1.5) == 0


def test_a_constant_offset_does_not_make_channels_alike(record: Record) -> None:
    voice = np.random.default_rng(5).normal(0, 0.01, 4 * SAMPLE_RATE).astype(np.float32)
    offset = np.float32(0.05)

    assert likeness(record(noise(4) + offset), record(voice + offset), 1, 1.5) < 0.1


def test_likeness_is_measured_at_the_ends_of_channels(record: Record) -> None:
    pcm, other = record(noise(2)), record(np.float32(0.5) * noise(2))

    assert likeness(pcm, other, 0, 0.5) == pytest.approx(1, abs=0.01)
    assert likeness(pcm, other, 1.8, 2.5) == pytest.approx(1, abs=0.01)
    assert likeness(pcm, other, 5, 6) == 0
    assert likeness(pcm, other, 1, 1.04) == 0
