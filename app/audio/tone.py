"""Writes decoded audio as a WAV file in which some stretches of a channel are a tone.

The file is made block by block, so that a recording of hours is never in memory as a whole.
"""

from collections.abc import Iterator, Mapping, Sequence
from struct import pack

import numpy as np
from numpy.typing import NDArray

from app.audio.pcm import SAMPLE_RATE, PcmFile

TONE_HERTZ, TONE_LEVEL = 1000.0, 0.1
BLOCK_SAMPLES = 1 << 18
BYTES_PER_SAMPLE = 2
LONGEST_BYTES = 0xFFFFFFFF  # what the header of a WAV file can say

Stretch = tuple[float, float]
"""Where a stretch starts and ends, in seconds."""


def wav_bytes(channels: Sequence[PcmFile]) -> int:
    """The size of the file that `with_tone` gives."""
    return len(_header(len(channels), 0)) + _samples(channels) * len(channels) * BYTES_PER_SAMPLE


def with_tone(channels: Sequence[PcmFile], stretches: Mapping[int, Sequence[Stretch]]) -> Iterator[bytes]:
    """Gives the file in blocks. `stretches` holds what to replace by a tone, by the channel's place in `channels`."""
    total = _samples(channels)
    yield _header(len(channels), total * len(channels) * BYTES_PER_SAMPLE)
    for start in range(0, total, BLOCK_SAMPLES):
        count = min(BLOCK_SAMPLES, total - start)
        block = np.zeros((count, len(channels)), dtype=np.float32)
        for channel, pcm in enumerate(channels):
            samples = pcm.read(start, count)
            block[: len(samples), channel] = samples
            _replace(block[:, channel], start, stretches.get(channel, ()))
        yield np.clip(np.rint(block * 32767), -32768, 32767).astype("<i2").tobytes()


def _replace(samples: NDArray[np.float32], start: int, stretches: Sequence[Stretch]) -> None:
    for begins, ends in stretches:
        first = max(0, int(begins * SAMPLE_RATE) - start)
        last = min(len(samples), int(ends * SAMPLE_RATE) + 1 - start)
        if first < last:
            at = np.arange(start + first, start + last, dtype=np.float64) / SAMPLE_RATE
            samples[first:last] = TONE_LEVEL * np.sin(2 * np.pi * TONE_HERTZ * at)


def _samples(channels: Sequence[PcmFile]) -> int:
    return max((pcm.samples for pcm in channels), default=0)


def _header(channels: int, size: int) -> bytes:
    """The header of a WAV file with 16 bits for a sample. One that is too long says the longest length."""
    frame = channels * BYTES_PER_SAMPLE
    kind = pack("<4sIHHIIHH", b"fmt ", 16, 1, channels, SAMPLE_RATE, SAMPLE_RATE * frame, frame, 16)
    data = pack("<4sI", b"data", min(size, LONGEST_BYTES))
    return pack("<4sI4s", b"RIFF", min(4 + len(kind) + len(data) + size, LONGEST_BYTES), b"WAVE") + kind + data
