from collections.abc import Sequence
from time import process_time

import numpy as np
import pytest
from numpy.typing import NDArray

from app.audio.pcm import SAMPLE_RATE, PcmFile
from app.speech.call.pitch import pitches
from app.transcripts.series import NO_PITCH, PITCHES_PER_SECOND, hertz_of
from app.transcripts.transcript import Span
from testing.recordings import SAMPLE_CALL, turns_of_the_sample_call
from tests.speech.conftest import Record, Samples, decoded, hold_music, noise, ringing, silence, telephone


def voice(hertz: float, seconds: float, swing_semitones: float = 0.0) -> Samples:
    """Syllables of a voice that swings around `hertz`, with hissing between them.

    What a telephone leaves out is missing: all below 300 Hz and above 3400 Hz.
    """
    at = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    pitch = hertz * 2 ** (swing_semitones / 12 * np.sin(2 * np.pi * 0.5 * at))
    phase = 2 * np.pi * np.cumsum(pitch) / SAMPLE_RATE
    sound = np.zeros_like(at)
    for harmonic in range(1, 50):
        heard = harmonic * hertz
        if 300 <= heard <= 3400:
            formants = sum(1 / (1 + ((heard - formant) / width) ** 2) for formant, width in ((600, 150), (1400, 250)))
            sound += (0.05 + formants) * np.cos(harmonic * phase + harmonic**2)
    syllables = np.clip(0.5 + np.sin(2 * np.pi * 2 * at), 0, 1)
    hissing = 0.2 * noise(seconds) * (syllables < 0.2)
    return np.asarray(0.2 * sound / np.max(np.abs(sound)) * syllables + hissing, np.float32)


def measured(pcm: PcmFile, own: Sequence[Span] | None = None) -> NDArray[np.float64]:
    """The pitches in hertz; 0 where there is none."""
    steps = pitches(pcm, [Span(0, pcm.duration_seconds)] if own is None else own)
    return np.array([0 if step == NO_PITCH else hertz_of(step) for step in steps])


def semitones(hertz: NDArray[np.float64], of: float) -> NDArray[np.float64]:
    return np.asarray(12 * np.log2(hertz[hertz > 0] / of))


@pytest.mark.parametrize("hertz", [80, 105, 150, 210, 280, 380])
@pytest.mark.parametrize("noise_db", [None, -15])
def test_a_voice_on_the_telephone_has_its_pitch_although_its_fundamental_is_missing(
    record: Record, hertz: float, noise_db: float | None
) -> None:
    spoken = voice(hertz, 12, swing_semitones=2)
    loud = float(np.std(spoken)) * 10 ** (noise_db / 20) if noise_db is not None else 0.0

    found = semitones(measured(record(telephone(spoken + noise(12) * np.float32(loud / 0.05)))), hertz)

    assert len(found) >= 12 * PITCHES_PER_SECOND / 4
    assert np.median(found) == pytest.approx(0, abs=0.7)
    assert np.mean(np.abs(found) < 3) > 0.85
    assert 2 < np.quantile(found, 0.9) - np.quantile(found, 0.1) < 5


def test_people_on_a_real_line_have_their_pitches(record: Record) -> None:
    agent, customer = decoded(SAMPLE_CALL)
    turns = turns_of_the_sample_call()
    own = [[Span(turn["start"], turn["end"]) for turn in turns if turn["channel"] == channel] for channel in (0, 1)]

    woman, man = measured(record(agent), own[0]), measured(record(customer), own[1])

    assert np.median(woman[woman > 0]) == pytest.approx(167, abs=5)
    assert np.median(man[man > 0]) == pytest.approx(101, abs=4)
    assert np.mean(np.abs(semitones(woman, 167)) < 6) > 0.98
    assert np.mean(np.abs(semitones(man, 101)) < 9) > 0.95


@pytest.mark.parametrize("sound", [noise(15), telephone(noise(15)), hold_music(15), ringing(2), silence(15)])
def test_other_sounds_have_no_pitch(record: Record, sound: Samples) -> None:
    assert not np.any(measured(record(sound)))


def test_a_voice_beside_loud_music_has_no_pitch(record: Record) -> None:
    spoken, music = voice(150, 16), hold_music(16)
    assert np.any(measured(record(spoken)))
    music *= np.float32(np.std(spoken) / np.std(music) / 2)

    assert np.mean(measured(record(telephone(spoken + music))) > 0) < 0.1


def test_two_people_one_after_the_other_have_their_own_pitches(record: Record) -> None:
    found = measured(record(voice(100, 24), voice(220, 24)))

    first, second = found[: 16 * PITCHES_PER_SECOND], found[32 * PITCHES_PER_SECOND :]
    assert np.median(first[first > 0]) == pytest.approx(100, abs=2)
    assert np.median(second[second > 0]) == pytest.approx(220, abs=4)


def test_only_the_speech_of_the_person_is_measured(record: Record) -> None:
    found = measured(record(voice(150, 20)), [Span(2, 6.05), Span(12, 12.02), Span(19, 25)])

    heard = np.flatnonzero(found) / PITCHES_PER_SECOND
    assert len(found) == 20 * PITCHES_PER_SECOND
    assert np.all(((heard >= 2) & (heard < 6.05)) | ((heard >= 19) & (heard < 20)))
    assert np.any(heard < 6)
    assert np.any(heard > 18)


@pytest.mark.parametrize("own", [[], [Span(0, 0)], [Span(0, 0.03)], [Span(50, 60)]])
def test_nothing_to_measure_has_no_pitch(record: Record, own: Sequence[Span]) -> None:
    assert not np.any(measured(record(voice(150, 1)), own))


def test_the_time_grows_with_the_speech_also_in_many_short_stretches(record: Record) -> None:
    pcm = record(*[voice(150, 20)] * 60)

    def seconds(spans: Sequence[Span]) -> float:
        started = process_time()
        pitches(pcm, spans)
        return process_time() - started

    short = [Span(at, at + 0.4) for at in np.arange(0, 240, 0.5).tolist()]
    long = [Span(at, at + 0.4) for at in np.arange(0, 1200, 0.5).tolist()]
    assert min(seconds(long) for _ in range(2)) < 3 * 5 * min(seconds(short) for _ in range(2))
