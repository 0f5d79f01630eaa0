"""Makes voices that say no word, from real speech: it is played backwards, or its mouth sings a tune, drawn out."""

from collections.abc import Sequence

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from proofs.bench.sources import RATE, Samples

Curve = NDArray[np.float64]
"""One figure for each sample."""

FRAME, HOP, BANDS = 512, 128, 512
MOUTH_FRAME, MOUTH_HOP = 256, 64
MOUTH_DETAIL = 26  # so many cepstral coefficients show the formants of the mouth, but not the pitch of its voice


def backwards(speech: Sequence[Samples], length: int, chance: Generator) -> Curve:
    """Returns sentences in a random order, each played backwards, with pauses between them."""
    sound, at = np.zeros(length), 0
    while at < length:
        sentence = _levelled(speech[int(chance.integers(len(speech)))][::-1])
        part = sentence[: length - at]
        sound[at : at + len(part)] = part
        at += len(part) + int(chance.uniform(0.1, 1) * RATE)
    return sound


def sung(speech: Sequence[Samples], pitch: Curve, stretch: float, chance: Generator) -> Curve:
    """Returns a voice that sings at `pitch`, in hertz for each sample.

    The mouth moves as in the sentences of `speech`, but `stretch` times as slowly, so that nothing is left of the
    words. This is a channel vocoder: a sawtooth with some breath, shaped by the formants of the speech.
    """
    order = [_levelled(speech[int(index)]) for index in chance.permutation(len(speech))]
    mouth = _mouth(np.resize(np.concatenate(order), int(len(pitch) / stretch) + RATE))
    carrier = 2 * (np.cumsum(pitch) / RATE % 1) - 1 + 0.05 * chance.normal(0, 1, len(pitch))
    window, sound = np.hanning(FRAME), np.zeros(len(pitch) + FRAME)
    for start in range(0, len(pitch) - FRAME, HOP):
        shape = mouth[min(int(start / stretch / MOUTH_HOP), len(mouth) - 1)]
        sound[start : start + FRAME] += np.fft.irfft(np.fft.rfft(carrier[start : start + FRAME] * window) * shape)
    return _levelled(sound[: len(pitch)])


def vibrato(pitch: Curve, time: Curve, chance: Generator) -> Curve:
    """Returns a sung pitch: it swings five to six times a second, by a third of a semitone."""
    swing = 0.35 * np.sin(2 * np.pi * chance.uniform(5, 6) * time) + 0.1 * np.sin(2 * np.pi * 0.7 * time)
    return np.asarray(pitch * 2 ** (swing / 12))


def _mouth(speech: Curve) -> Curve:
    """Returns how loud the mouth lets each frequency through, as (frames, frequencies)."""
    frames = np.lib.stride_tricks.sliding_window_view(speech, MOUTH_FRAME)[::MOUTH_HOP] * np.hanning(MOUTH_FRAME)
    cepstrum = np.fft.irfft(np.log(np.abs(np.fft.rfft(frames, BANDS)) + 1e-4))
    cepstrum[:, MOUTH_DETAIL:-MOUTH_DETAIL] = 0
    return np.asarray(np.exp(np.fft.rfft(cepstrum).real))


def _levelled(sound: Samples | Curve) -> Curve:
    return np.asarray(sound / np.sqrt(np.mean(np.square(sound, dtype=np.float64))), np.float64)
