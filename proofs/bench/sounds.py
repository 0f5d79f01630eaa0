"""Makes the sounds of telephones in which no word is said. The same seeds give the same sounds on every machine."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path

import numpy as np
from numpy.random import Generator

from proofs.bench.calls import Call
from proofs.bench.compose import WORDLESS, written
from proofs.bench.sources import RATE, Samples, decoded
from proofs.bench.voices import Curve, backwards, sung, vibrato
from testing.speech_samples import samples

Sound = Callable[[Curve, Generator], Curve]
"""Returns a sound for these times, in seconds."""

KEYS = ((697, 1209), (697, 1336), (770, 1477), (852, 1209), (941, 1336), (770, 1336), (852, 1477))
CHORDS = ((0, 4, 7), (9, 12, 16), (5, 9, 12), (7, 11, 14))
TUNE = (0, 4, 7, 12, 9, 7, 5, 4, 2, 5, 9, 14, 11, 7, 4, 2)
SONG = (0, 0, 7, 7, 9, 9, 7, 7, 5, 5, 4, 4, 2, 2, 0, 0)
TALKERS = 8


def wordless(folder: Path, seconds: float) -> list[Call]:
    """Writes one recording for each sound, in the μ-law of telephones."""
    time = np.arange(round(seconds * RATE)) / RATE
    return [
        Call(_written(folder, name, sound(time, np.random.default_rng(seed))), 1, seconds, WORDLESS, texts=("",))
        for seed, (name, sound) in enumerate(SOUNDS.items())
    ]


def _written(folder: Path, name: str, sound: Curve) -> Path:
    return written(folder / f"{name}.wav", sound[None].astype(np.float32))


def _silence(time: Curve, _: Generator) -> Curve:
    return np.zeros_like(time)


def _white(time: Curve, chance: Generator) -> Curve:
    return chance.normal(0, 0.05, len(time))


def _pink(time: Curve, chance: Generator) -> Curve:
    return 0.06 * _coloured(time, chance, 0.5)


def _street(time: Curve, chance: Generator) -> Curve:
    """Rumbling traffic, cars that pass by, and a horn now and then."""
    rumble = 0.03 * _coloured(time, chance, 1.0)
    passing = np.clip(np.sin(2 * np.pi * time / 7), 0, 1) ** 3 * 0.08 * _coloured(time, chance, 0.6)
    horn = 0.08 * np.sign(np.sin(2 * np.pi * 410 * time)) * (time % 11 > 10.4)
    return rumble + passing + horn


def _ringing(time: Curve, _: Generator) -> Curve:
    return _tones(time, 440, 480) * (time % 6 < 2)


def _busy(time: Curve, _: Generator) -> Curve:
    return _tones(time, 480, 620) * (time % 1 < 0.5)


def _keys(time: Curve, chance: Generator) -> Curve:
    """Keys of a telephone, pressed by a person: now and then, for a tenth of a second or longer."""
    sound = np.zeros_like(time)
    for start in _moments(time, chance, 0.4, 2.5):
        low, high = KEYS[chance.integers(len(KEYS))]
        sound += _tones(time, low, high) * ((time >= start) & (time < start + chance.uniform(0.1, 0.25)))
    return sound


def _fax(time: Curve, chance: Generator) -> Curve:
    """A fax machine that calls (1100 Hz), another that answers (2100 Hz), and their bits at 300 baud."""
    bits = chance.integers(0, 2, len(time) // 26 + 1).repeat(26)[: len(time)]
    data = np.sin(2 * np.pi * np.cumsum(np.where(bits, 1650, 1850)) / RATE)
    at = time % 14
    calling = np.sin(2 * np.pi * 1100 * time) * ((at < 7) & (at % 3.5 < 0.5))
    answering = np.sin(2 * np.pi * 2100 * time) * ((at > 7) & (at < 10))
    return np.asarray(0.15 * (calling + answering + data * (at > 10.2)))


def _music(time: Curve, chance: Generator) -> Curve:
    """Hold music without a singer: chords, a tune, a bass and a drum."""
    beat = (time * 2).astype(int)
    chord = np.array(CHORDS)[beat // 4 % len(CHORDS)]
    pad = sum(_instrument(time, 220, chord[:, voice]) for voice in range(3))
    tune = _instrument(time, 440, np.array(TUNE)[beat % len(TUNE)]) * _plucked(time, 0.5)
    bass = _instrument(time, 110, chord[:, 0]) * _plucked(time, 0.5)
    drum = chance.normal(0, 1, len(time)) * np.exp(-30 * (time % 0.5))
    return np.asarray(0.03 * pad + 0.1 * tune + 0.08 * bass + 0.05 * drum)


def _singer(time: Curve, chance: Generator, *, hertz: float, stretch: float) -> Curve:
    """A voice alone. Its lowest note has `hertz`, and its mouth moves `stretch` times as slowly as in speech."""
    notes = np.array(SONG)[(time / 0.45).astype(int) % len(SONG)]
    pitch = vibrato(hertz * 2 ** (notes / 12), time, chance)
    return 0.1 * sung(_speech(), pitch, stretch, chance)


def _song(time: Curve, chance: Generator) -> Curve:
    """Hold music with a singer."""
    return 0.6 * _music(time, chance) + _singer(time, chance, hertz=262, stretch=6)


def _babble(time: Curve, chance: Generator) -> Curve:
    """The voices of other people in a room, all at the same time. They are played backwards, so they say no word."""
    voices = [backwards(_speech(), len(time), chance) for _ in range(TALKERS)]
    return np.asarray(0.06 * np.mean(voices, axis=0) * np.sqrt(TALKERS))


def _breathing(time: Curve, chance: Generator) -> Curve:
    """Breath on a microphone: in for 1.2 s, out for 1.8 s."""
    at = time % 4
    breath_in = np.sin(np.pi * np.clip(at / 1.2, 0, 1)) * _coloured(time, chance, 0.2)
    breath_out = np.sin(np.pi * np.clip((at - 1.5) / 1.8, 0, 1)) * _coloured(time, chance, 0.5)
    return 0.03 * breath_in + 0.08 * breath_out


def _clicks(time: Curve, chance: Generator) -> Curve:
    """Clicks and crackle of a bad telephone line."""
    sound = 0.002 * chance.normal(0, 1, len(time))
    sound[chance.integers(len(time), size=len(time) // 2000)] += chance.choice([-0.6, 0.6])
    return sound


def _typing(time: Curve, chance: Generator) -> Curve:
    """Typing on a keyboard: short bursts of noise, five to ten a second, in runs."""
    sound = np.zeros_like(time)
    for start in _moments(time, chance, 0.08, 0.22):
        if start % 6 < 4:
            after = np.clip(time - start, 0, None)
            sound += np.where(time >= start, np.exp(-120 * after), 0) * chance.uniform(0.1, 0.4)
    return np.asarray(sound * chance.normal(0, 0.5, len(time)))


def _hum(time: Curve, _: Generator) -> Curve:
    """Hum of the mains, with its harmonics."""
    return np.asarray(sum(0.15 / part * np.sin(2 * np.pi * 50 * part * time) for part in (1, 2, 3, 4, 6, 8, 10)))


def _hiss(time: Curve, chance: Generator) -> Curve:
    """Comfort noise of a codec: its level changes every 20 ms, and lost packets leave gaps."""
    frames = (time / 0.02).astype(int)
    level = chance.lognormal(0, 0.5, frames[-1] + 1) * (chance.random(frames[-1] + 1) > 0.05)
    return np.asarray(0.01 * level[frames] * _coloured(time, chance, 0.3))


@cache
def _speech() -> Sequence[Samples]:
    """Speech that is the same on every machine. Nothing of its words is left in the sounds."""
    return [decoded(each.path)[0] for each in samples()]


def _tones(time: Curve, *hertz: float) -> Curve:
    return np.asarray(sum(0.1 * np.sin(2 * np.pi * each * time) for each in hertz))


def _coloured(time: Curve, chance: Generator, slope: float) -> Curve:
    """Returns noise whose amplitude falls with frequency to the power of `slope`. Its standard deviation is 1."""
    spectrum = np.fft.rfft(chance.normal(0, 1, len(time)))
    hertz = np.fft.rfftfreq(len(time), 1 / RATE)
    noise = np.fft.irfft(spectrum / np.maximum(hertz, 50) ** slope, len(time))
    return np.asarray(noise / noise.std())


def _moments(time: Curve, chance: Generator, shortest: float, longest: float) -> Sequence[float]:
    """Returns moments whose distances are between `shortest` and `longest` seconds."""
    gaps = chance.uniform(shortest, longest, int(time[-1] / shortest) + 1)
    return [float(moment) for moment in np.cumsum(gaps) if moment < time[-1]]


def _instrument(time: Curve, hertz: float, semitones: Curve) -> Curve:
    phase = 2 * np.pi * np.cumsum(hertz * 2 ** (semitones / 12)) / RATE
    return np.asarray(sum(np.sin(part * phase) / part**1.5 for part in (1, 2, 3, 4)))


def _plucked(time: Curve, every: float) -> Curve:
    return np.asarray(np.exp(-5 * (time % every)) * np.clip(100 * (time % every), 0, 1))


SOUNDS: Mapping[str, Sound] = {
    "silence": _silence,
    "white-noise": _white,
    "pink-noise": _pink,
    "street": _street,
    "babble": _babble,
    "ringing": _ringing,
    "busy": _busy,
    "keys": _keys,
    "fax": _fax,
    "music": _music,
    "song": _song,
    "singer": partial(_singer, hertz=262, stretch=12),
    "baritone": partial(_singer, hertz=131, stretch=6),
    "breathing": _breathing,
    "clicks": _clicks,
    "typing": _typing,
    "hum": _hum,
    "hiss": _hiss,
}
