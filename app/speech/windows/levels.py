"""Measures the samples of all channels before they are recognized: loudness, clipping, and copies of a channel.

A copy needs no second transcription, and loudness later shows which channel a word belongs to. Channels are read in
stretches, so that an hour takes some hundred kilobytes of memory.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.audio.pcm import SAMPLE_RATE, PcmFile

BLOCK_SAMPLES = SAMPLE_RATE // 2
STRETCH_SAMPLES = 40 * BLOCK_SAMPLES

# The largest sample of G.711 is 0.98 of full scale, and resampling bends flat peaks.
CLIPPED_LEVEL = 0.97
SILENT_RMS = 10 ** (-70 / 20)
# Two channels are the same if all but a thousandth of their energy is: codecs add less noise, and bleed adds more.
MAX_COPY_RESIDUE = 1e-3
# In no half second may more differ, because a faint voice in a pause of the other is little of a call's energy.
MAX_BLOCK_RESIDUE = 0.03
# The longest delay of an echo, which is a copy on another channel.
LONGEST_DELAY_SECONDS = 0.2
SHORTEST_ALIKE_SECONDS = 0.05  # shorter stretches of two voices are alike by chance


@dataclass(frozen=True, slots=True)
class Levels:
    """For each channel: its root mean square (0–1), the share of samples at full scale, and the channel it repeats."""

    rms: tuple[float, ...]
    clipped: tuple[float, ...]
    copy_of: tuple[int | None, ...]

    @property
    def distinct(self) -> tuple[int, ...]:
        """The channels that do not repeat another."""
        return tuple(channel for channel, original in enumerate(self.copy_of) if original is None)

    def is_silent(self, channel: int) -> bool:
        """Whether the channel has no signal at all."""
        return self.rms[channel] < SILENT_RMS


def measure(channels: Sequence[PcmFile]) -> Levels:
    """Reads all channels once. Blocks, for about a second per hour of audio. Raises OSError."""
    count, length = len(channels), max((pcm.samples for pcm in channels), default=0)
    products, clipped = [np.zeros((0, count, count))], np.zeros(count)
    for start in range(0, length, STRETCH_SAMPLES):
        size = min(STRETCH_SAMPLES, length - start)
        blocks = -(-size // BLOCK_SAMPLES)
        stretch = np.stack([_padded(pcm.read(start, size), blocks * BLOCK_SAMPLES) for pcm in channels])
        by_block = stretch.reshape(count, blocks, BLOCK_SAMPLES).transpose(1, 0, 2)
        products.append((by_block @ by_block.transpose(0, 2, 1)).astype(np.float64))
        clipped += (np.abs(stretch) >= CLIPPED_LEVEL).sum(axis=1)
    found = np.concatenate(products)
    rms = np.sqrt(np.diag(found.sum(axis=0)) / max(1, length))
    return Levels(tuple(rms.tolist()), tuple((clipped / max(1, length)).tolist()), _copies(found, rms))


def loudness(pcm: PcmFile, start: float, end: float) -> float:
    """Root mean square (0–1) between two times in seconds, less a constant offset. Reads all of it into memory.

    Raises OSError.
    """
    first = max(0, round(start * SAMPLE_RATE))
    samples = pcm.read(first, max(1, round(end * SAMPLE_RATE) - first))
    return float(np.std(samples)) if len(samples) else 0.0


def likeness(pcm: PcmFile, other: PcmFile, start: float, end: float) -> float:
    """How much of a channel's sound between two times in seconds is that of another, with any delay up to 0.2 s.

    Returns the peak of their normalized cross-correlation, which does not depend on the levels: 0 if nothing is the
    same or too little is heard to know, 1 if everything is the same. Raises OSError.
    """
    first, delay = max(0, round(start * SAMPLE_RATE)), round(LONGEST_DELAY_SECONDS * SAMPLE_RATE)
    own = pcm.read(first, max(1, round(end * SAMPLE_RATE) - first))
    around = other.read(max(0, first - delay), min(first, delay) + len(own) + delay)
    if not SHORTEST_ALIKE_SECONDS * SAMPLE_RATE <= len(own) <= len(around):
        return 0.0
    own, around = own - own.mean(), around - around.mean()  # a constant offset is not sound
    size = 1 << (len(own) + len(around) - 1).bit_length()
    products = np.fft.irfft(np.fft.rfft(around, size) * np.conj(np.fft.rfft(own, size)), size)
    energy = np.cumsum(np.concatenate([[0.0], np.square(around, dtype=np.float64)]))
    energies = (energy[len(own) :] - energy[: -len(own)]) * np.sum(np.square(own, dtype=np.float64))
    heard = energies > 0
    return float(np.max(np.abs(products[: len(energies)])[heard] / np.sqrt(energies[heard]), initial=0.0))


def _padded(samples: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    return np.pad(samples, (0, size - len(samples)))


def _copies(products: NDArray[np.float64], rms: NDArray[np.float64]) -> tuple[int | None, ...]:
    """For each channel the one that it repeats, perhaps at another level. The original is the first, or 3 dB louder.

    `products` holds the inner products of all pairs of channels for each block: (blocks, channels, channels).
    """
    copy_of: list[int | None] = [None] * len(rms)
    originals: list[int] = []
    steps = np.round(2 * np.log2(np.maximum(rms, SILENT_RMS)))
    for channel in sorted(range(len(rms)), key=lambda index: -steps[index]):
        if rms[channel] < SILENT_RMS:
            continue
        for original in originals:
            if _is_copy(products[:, channel, channel], products[:, channel, original], products[:, original, original]):
                copy_of[channel] = original
                break
        else:
            originals.append(channel)
    return tuple(copy_of)


def _is_copy(own: NDArray[np.float64], common: NDArray[np.float64], others: NDArray[np.float64]) -> bool:
    """Whether the other channel times one gain is this one, in total and in each block that is not silent."""
    gain = common.sum() / others.sum()
    expected = gain**2 * others
    residue = own - 2 * gain * common + expected
    heard = residue > SILENT_RMS**2 * BLOCK_SAMPLES
    apart = residue > MAX_BLOCK_RESIDUE * np.maximum(own, expected)
    return bool(residue.sum() < MAX_COPY_RESIDUE * own.sum() and not np.any(heard & apart))
