"""What the samples of a recording's channels tell before anything is heard: loudness, clipping, copies.

Read in stretches, so memory does not grow with the recording.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.audio.pcm import SAMPLE_RATE, PcmFile

STRETCH_SAMPLES = 20 * SAMPLE_RATE

# G.711 ends at 0.98 of full scale, and resampling bends what was flat.
CLIPPED_LEVEL = 0.97
SILENT_RMS = 10 ** (-70 / 20)
# Two channels are the same when all but a thousandth of their energy is: codecs leave less noise, bleed more.
MAX_COPY_RESIDUE = 1e-3


@dataclass(frozen=True, slots=True)
class Levels:
    """A value per channel: root mean square in 0–1, share of samples at full scale, the channel that it repeats."""

    rms: tuple[float, ...]
    clipped: tuple[float, ...]
    copy_of: tuple[int | None, ...]

    @property
    def distinct(self) -> tuple[int, ...]:
        """The channels that repeat no other."""
        return tuple(channel for channel, original in enumerate(self.copy_of) if original is None)

    def is_silent(self, channel: int) -> bool:
        """Whether there is no signal at all."""
        return self.rms[channel] < SILENT_RMS


def measure(channels: Sequence[PcmFile]) -> Levels:
    """Reads all channels once. Blocks, for about a second for each hour; raises OSError."""
    count, length = len(channels), max((pcm.samples for pcm in channels), default=0)
    products, clipped = np.zeros((count, count)), np.zeros(count)
    for start in range(0, length, STRETCH_SAMPLES):
        size = min(STRETCH_SAMPLES, length - start)
        stretch = np.stack([_padded(pcm.read(start, size), size) for pcm in channels])
        products += stretch @ stretch.T
        clipped += (np.abs(stretch) >= CLIPPED_LEVEL).sum(axis=1)
    rms = np.sqrt(np.diag(products) / max(1, length))
    return Levels(tuple(rms.tolist()), tuple((clipped / max(1, length)).tolist()), _copies(products, rms))


def loudness(pcm: PcmFile, start: float, end: float) -> float:
    """Root mean square (0–1) between two times in seconds, which are held in memory. Raises OSError."""
    first = max(0, round(start * SAMPLE_RATE))
    samples = pcm.read(first, max(1, round(end * SAMPLE_RATE) - first))
    return float(np.sqrt(np.mean(samples**2))) if len(samples) else 0.0


def _padded(samples: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    return np.pad(samples, (0, size - len(samples)))


def _copies(products: NDArray[np.float64], rms: NDArray[np.float64]) -> tuple[int | None, ...]:
    """For each channel the one that it is, at another level perhaps: the first of them, unless one is 3 dB louder."""
    copy_of: list[int | None] = [None] * len(rms)
    originals: list[int] = []
    steps = np.round(2 * np.log2(np.maximum(rms, SILENT_RMS)))
    for channel in sorted(range(len(rms)), key=lambda index: -steps[index]):
        if rms[channel] < SILENT_RMS:
            continue
        for original in originals:
            common = products[channel, original] ** 2 / (products[channel, channel] * products[original, original])
            if common > 1 - MAX_COPY_RESIDUE:
                copy_of[channel] = original
                break
        else:
            originals.append(channel)
    return tuple(copy_of)
