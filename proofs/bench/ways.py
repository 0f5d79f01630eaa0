"""Ways from telephone speech at 8 kHz to the engine's 16 kHz: resamplers, levels, filters."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.filter import Graph

from app.audio.decode_child import RESAMPLER
from app.audio.pcm import SAMPLE_RATE
from proofs.bench.sources import RATE, Samples

TODAY = "today"
FRAME_SECONDS = 0.02
LOUDEST = 0.95  # a quantile of the frames: speech, not a click


@dataclass(frozen=True)
class Way:
    """A gain for the whole recording; FFmpeg's filters, each with its options; its resampler's, or `resample`."""

    filters: tuple[tuple[str, str], ...] = ()
    resampler: str = RESAMPLER
    gain: Callable[[Samples], float] | None = None
    resample: Callable[[Samples], Samples] | None = None

    def __call__(self, heard: Samples) -> Samples:
        """Samples in −1…1 at RATE → at SAMPLE_RATE; louder ones are cut off."""
        if self.gain is not None:
            heard = heard * np.float32(self.gain(heard))
        if self.resample is None:
            heard = _filtered(heard, [*self.filters, ("aresample", f"{SAMPLE_RATE}:{self.resampler}")])
        else:
            heard = self.resample(heard)
        return np.clip(heard, -1, 1)


def _filtered(samples: Samples, filters: Sequence[tuple[str, str]]) -> Samples:
    graph = Graph()
    graph.threads = 1
    source = graph.add_abuffer(sample_rate=RATE, format="fltp", layout="mono", time_base=Fraction(1, RATE))
    ends = [graph.add("aformat", f"sample_fmts=fltp:sample_rates={SAMPLE_RATE}"), graph.add("abuffersink")]
    graph.link_nodes(source, *(graph.add(name, options) for name, options in filters), *ends).configure()
    frame = AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
    frame.sample_rate, frame.time_base, frame.pts = RATE, Fraction(1, RATE), 0
    graph.push(frame)
    graph.push(None)
    parts = []
    with suppress(av.BlockingIOError, av.EOFError):
        while True:
            parts.append(graph.pull().to_ndarray()[0])
    return np.concatenate(parts)


def _doubled(samples: Samples) -> Samples:
    """Twice as many samples a second with nothing above the old band: what no filter can do better."""
    spectrum = np.fft.rfft(samples)
    wide = np.zeros(len(samples) + 1, complex)
    wide[: len(spectrum)] = 2 * spectrum
    return np.fft.irfft(wide, 2 * len(samples)).astype(np.float32)


def _peak(samples: Samples) -> float:
    return float(np.abs(samples).max()) or 1.0


def _root_mean_square(samples: Samples) -> float:
    return float(np.sqrt(np.mean(samples**2))) or 1.0


def _speech_level(samples: Samples) -> float:
    size = round(FRAME_SECONDS * RATE)
    frames = samples[: len(samples) // size * size].reshape(-1, size)
    return float(np.quantile(np.sqrt(np.mean(frames**2, axis=1)), LOUDEST)) or 1.0


WAYS = {
    TODAY: Way(),
    "swresample's default": Way(resampler="filter_size=32"),
    "short filter, images stay": Way(resampler="filter_size=4"),
    "longer filter": Way(resampler="filter_size=512:cutoff=0.99"),
    "FFT, no image at all": Way(resample=_doubled),
    "peak at −1 dB": Way(gain=lambda heard: 0.89 / _peak(heard)),
    "RMS at −23 dB": Way(gain=lambda heard: 0.07 / _root_mean_square(heard)),
    "speech at −16 dB": Way(gain=lambda heard: 0.16 / _speech_level(heard)),
    "loudnorm": Way((("loudnorm", "I=-20:TP=-2:LRA=11"),)),
    "dynaudnorm": Way((("dynaudnorm", "gausssize=15"),)),
    "high-pass 80 Hz": Way((("highpass", "f=80"),)),
    "high-pass 150 Hz": Way((("highpass", "f=150"),)),
    "band 300–3400 Hz": Way((("highpass", "f=300"), ("lowpass", "f=3400"))),
    "afftdn": Way((("afftdn", "track_noise=1"),)),
}
