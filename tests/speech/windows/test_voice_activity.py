"""Silero on typical channels of calls."""

import numpy as np
import pytest
from faster_whisper.vad import get_vad_model

from app.audio.pcm import SAMPLE_RATE
from app.speech.windows.cutting import FRAME_SAMPLES, WindowFinder
from app.speech.windows.voice_activity import SILENT_FRAMES, VoiceActivity
from testing.speech_samples import sample
from tests.speech.conftest import Samples, hold_music, noise, speech

PIECE = SILENT_FRAMES * FRAME_SAMPLES


def whole_pieces(samples: Samples) -> Samples:
    return samples[: len(samples) // PIECE * PIECE]


def test_our_network_finds_what_the_one_of_faster_whisper_finds() -> None:
    words = whole_pieces(speech(sample("en", "counting")))
    loud = words + np.float32(0.06) * noise(60)[: len(words)]  # without a silence, no memory is cleared

    found = VoiceActivity().probabilities(loud)

    expected = get_vad_model()(loud.copy())  # it overwrites the end of the samples
    assert found.max() > 0.9
    assert found.min() < 0.1
    np.testing.assert_allclose(found[:-1], expected[:-1], atol=1e-4)


@pytest.mark.parametrize("constant", [0.0, 0.01])
def test_a_digital_silence_is_no_speech_and_changes_nothing_after_it(constant: float) -> None:
    words = whole_pieces(speech(sample("en", "counting"))) + np.float32(constant)
    pieces = [np.full(count * PIECE, constant, np.float32) for count in (2, 200)]

    short, long = (VoiceActivity().probabilities(np.concatenate([words, each, words])) for each in pieces)

    frames = len(words) // FRAME_SAMPLES
    assert not long[frames:-frames].any()
    np.testing.assert_allclose(long[-frames:], short[-frames:], atol=1e-5)


def test_speech_of_a_very_faint_recording_is_found() -> None:
    words = whole_pieces(speech(sample("en", "counting")))
    faint = (np.round(words * 10 ** (-40 / 20) * 32768) / 32768).astype(np.float32)

    loud_frames, faint_frames = (np.sum(VoiceActivity().probabilities(each) > 0.35) for each in (words, faint))

    assert faint_frames >= 0.8 * loud_frames


def test_words_after_a_silence_are_found_as_well_as_at_the_start() -> None:
    words, others = (whole_pieces(speech(sample("en", name))) for name in ("quick_brown_fox", "counting"))
    silence = np.zeros(10 * PIECE, np.float32)

    found = VoiceActivity().probabilities(np.concatenate([others, silence, words]))

    at_the_beginning = VoiceActivity().probabilities(words)
    assert at_the_beginning.max() > 0.9
    assert (found[-len(at_the_beginning) :] >= at_the_beginning - 1e-3).all()


def test_a_channel_gives_the_same_result_in_stretches_and_as_a_whole() -> None:
    words = whole_pieces(speech(sample("en", "counting")))
    channel = np.concatenate([words, np.zeros(4 * PIECE, np.float32), words])
    voice = VoiceActivity()

    stretches = [voice.probabilities(channel[at : at + PIECE]) for at in range(0, len(channel), PIECE)]

    np.testing.assert_allclose(np.concatenate(stretches), VoiceActivity().probabilities(channel), atol=1e-3)


def test_music_is_not_speech_even_if_it_is_long_and_interrupted() -> None:
    silence = np.zeros(4 * PIECE, np.float32)
    music = np.concatenate([hold_music(60), silence, hold_music(20), silence, hold_music(20)])
    finder = WindowFinder(18 * SAMPLE_RATE)

    assert finder.feed(VoiceActivity().probabilities(music)) + finder.finish(len(music)) == []
