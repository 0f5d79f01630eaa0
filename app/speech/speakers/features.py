"""Kaldi's 80 mel bands, which the model of voices hears instead of samples.

They are those of `kaldi.fbank(samples, num_mel_bins=80)` in torchaudio, without its random noise.
"""

import numpy as np
from numpy.typing import NDArray

from app.audio.pcm import SAMPLE_RATE
from app.speech.model import Samples

BANDS = 80
FRAME, HOP, FFT = 400, 160, 512  # samples: 25 ms every 10 ms
LOWEST_HERTZ = 20
PREEMPHASIS = 0.97
FLOOR = np.float32(1.1920929e-07)


def features(samples: Samples) -> NDArray[np.float32]:
    """The logarithms of the bands, as (frames, bands). `samples` must hold a frame."""
    frames = np.lib.stride_tricks.sliding_window_view(samples, FRAME)[::HOP]
    frames = frames - frames.mean(axis=1, keepdims=True)
    before = np.concatenate([frames[:, :1], frames[:, :-1]], axis=1)
    spectra = np.fft.rfft((frames - np.float32(PREEMPHASIS) * before) * _WINDOW, FFT)
    power = np.square(spectra.real) + np.square(spectra.imag)
    return np.asarray(np.log(np.maximum(power.astype(np.float32) @ _BANKS, FLOOR)), np.float32)


def _mel(hertz: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(1127 * np.log1p(hertz / 700))


def _banks() -> NDArray[np.float32]:
    """Triangles on the mel scale, as (frequencies, bands)."""
    lowest, highest = _mel(np.array([LOWEST_HERTZ, SAMPLE_RATE / 2])).tolist()
    edges = np.linspace(lowest, highest, BANDS + 2)
    at = _mel(np.arange(FFT // 2 + 1) * SAMPLE_RATE / FFT)[:, None]
    rising, falling = (at - edges[:-2]) / (edges[1] - edges[0]), (edges[2:] - at) / (edges[1] - edges[0])
    return np.asarray(np.clip(np.minimum(rising, falling), 0, None), np.float32)


_BANKS = _banks()
_WINDOW = np.asarray(np.power(np.hanning(FRAME), 0.85), np.float32)
