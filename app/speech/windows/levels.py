"""Measures the samples of all channels before they are recognized: loudness, clipping, and copies of a channel.

A copy needs no second transcription, and loudness later shows which channel a word belongs to. Channels are read in
stretches, so that a recording of any length takes a few megabytes of memory.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.audio.pcm import SAMPLE_RATE, PcmFile

BLOCK_SAMPLES = SAMPLE_RATE // 2
STRETCH_SAMPLES = 40 * BLOCK_SAMPLES

# A sample at this level counts as clipped. G.711 reaches at most 0.98 of full scale, and resampling lowers flat peaks.
CLIPPED_LEVEL = 0.97
NO_SIGNAL_RMS = 10 ** (-70 / 20)  # a channel below this is silent
# A channel copies another if what differs has at most this part of its energy. Codecs add less noise, bleed adds more.
MAX_COPY_RESIDUE = 1e-3
# What differs may have at most this part in each block. Otherwise a faint voice in the other's pause would be lost,
# because it has little of a call's energy.
MAX_BLOCK_RESIDUE = 0.03
LONGEST_DELAY_SECONDS = 0.2  # of an echo, which is a copy on another channel
SHORTEST_ALIKE_SECONDS = 0.05  # two voices are alike by chance in shorter stretches


@dataclass(frozen=True, slots=True)
class Levels:
    """For each channel: its root mean square (0–1), the part of its samples that is clipped, and the channel it copies.

    `copy_of` is None for a channel that copies no other. `by_second` holds the root mean square of each second,
    without a constant offset.
    """

    rms: tuple[float, ...]
    clipped: tuple[float, ...]
    copy_of: tuple[int | None, ...]
    by_second: tuple[tuple[float, ...], ...] = ()

    @property
    def distinct(self) -> tuple[int, ...]:
        """The channels that copy no other channel."""
        return tuple(channel for channel, original in enumerate(self.copy_of) if original is None)

    def is_silent(self, channel: int) -> bool:
        """Whether the channel has no signal at all."""
        return self.rms[channel] < NO_SIGNAL_RMS


def measure(channels: Sequence[PcmFile]) -> Levels:
    """Reads all channels once. Blocks, for about a second per hour of audio. Raises OSError."""
    count, length = len(channels), max((pcm.samples for pcm in channels), default=0)
    products, sums, clipped = [np.zeros((0, count, count))], [np.zeros((0, count))], np.zeros(count)
    for start in range(0, length, STRETCH_SAMPLES):
        size = min(STRETCH_SAMPLES, length - start)
        blocks = -(-size // BLOCK_SAMPLES)
        stretch = np.zeros((count, blocks * BLOCK_SAMPLES), np.float32)
        for samples, pcm in zip(stretch, channels, strict=True):
            read = pcm.read(start, size)
            samples[: len(read)] = read
        by_block = stretch.reshape(count, blocks, BLOCK_SAMPLES).transpose(1, 0, 2)
        products.append((by_block @ by_block.transpose(0, 2, 1)).astype(np.float64))
        sums.append(by_block.sum(axis=2))
        if max(stretch.max(), -stretch.min()) >= CLIPPED_LEVEL:  # most stretches have no such sample
            clipped += (np.abs(stretch) >= CLIPPED_LEVEL).sum(axis=1)
    found = np.concatenate(products)
    rms = np.sqrt(np.diag(found.sum(axis=0)) / max(1, length))
    by_second = _by_second(found.diagonal(axis1=1, axis2=2), np.concatenate(sums), length)
    return Levels(
        tuple(rms.tolist()),
        tuple((clipped / max(1, length)).tolist()),
        _copies(found, rms),
        tuple(map(tuple, by_second.T.tolist())),
    )


def loudness(pcm: PcmFile, start: float, end: float) -> float:
    """Root mean square (0–1) between two times in seconds, without a constant offset. Raises OSError.

    Reads all samples between these times into memory.
    """
    first = max(0, round(start * SAMPLE_RATE))
    samples = pcm.read(first, max(1, round(end * SAMPLE_RATE) - first))
    return float(np.std(samples)) if len(samples) else 0.0


def likeness(pcm: PcmFile, other: PcmFile, start: float, end: float) -> float:
    """How much of a channel's sound between two times in seconds is also on another channel, with a delay up to 0.2 s.

    Returns the peak of their normalized cross-correlation, which does not depend on how loud they are. It is 1 if all
    sound is the same, and 0 if no sound is the same or if the stretch is too short to know. Raises OSError.
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


def _by_second(squares: NDArray[np.float64], sums: NDArray[np.float64], length: int) -> NDArray[np.float64]:
    """The root mean square of each second, from the sums of blocks: (blocks, channels) → (seconds, channels)."""
    starts = np.arange(0, len(sums), SAMPLE_RATE // BLOCK_SAMPLES)
    if not len(starts):
        return np.zeros((0, sums.shape[1]))
    samples = np.minimum(SAMPLE_RATE, length - starts * BLOCK_SAMPLES)[:, None]
    means = np.add.reduceat(sums, starts) / samples
    return np.asarray(np.sqrt(np.maximum(0, np.add.reduceat(squares, starts) / samples - means**2)))


def _copies(products: NDArray[np.float64], rms: NDArray[np.float64]) -> tuple[int | None, ...]:
    """For each channel the channel that it copies, perhaps at another level, or None.

    The original is the channel that is clearly louder. Loudness counts in steps of 3 dB. If both are in the same step,
    the first one is the original.

    `products` holds the inner products of all pairs of channels for each block: (blocks, channels, channels).
    """
    copy_of: list[int | None] = [None] * len(rms)
    originals: list[int] = []
    steps = np.round(2 * np.log2(np.maximum(rms, NO_SIGNAL_RMS)))
    for channel in sorted(range(len(rms)), key=lambda index: -steps[index]):
        if rms[channel] < NO_SIGNAL_RMS:
            continue
        for original in originals:
            if _is_copy(products[:, channel, channel], products[:, channel, original], products[:, original, original]):
                copy_of[channel] = original
                break
        else:
            originals.append(channel)
    return tuple(copy_of)


def _is_copy(own: NDArray[np.float64], common: NDArray[np.float64], others: NDArray[np.float64]) -> bool:
    """Whether this channel is the other one, made louder or fainter by one factor.

    That must be so in total, and in each block that is not silent.
    """
    gain = common.sum() / others.sum()
    expected = gain**2 * others
    residue = own - 2 * gain * common + expected
    heard = residue > NO_SIGNAL_RMS**2 * BLOCK_SAMPLES
    apart = residue > MAX_BLOCK_RESIDUE * np.maximum(own, expected)
    return bool(residue.sum() < MAX_COPY_RESIDUE * own.sum() and not np.any(heard & apart))
