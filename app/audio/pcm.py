"""Decoded audio on disk: a file for each channel, with 16 kHz mono samples of 16 bits, signed and little endian.

It exists so that a recording of hours is read in pieces and is never in memory as a whole.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE = 16_000
BYTES_PER_SAMPLE = 2


@dataclass(frozen=True, slots=True)
class PcmFile:
    """The samples of one channel, or of a mix of all."""

    path: Path

    @property
    def samples(self) -> int:
        return self.path.stat().st_size // BYTES_PER_SAMPLE

    @property
    def duration_seconds(self) -> float:
        return self.samples / SAMPLE_RATE

    def read(self, start: int, count: int) -> NDArray[np.float32]:
        """Returns up to `count` samples from −1 to 1, beginning with sample number `start`.

        There are fewer at the end of the file. Blocks while it reads.
        """
        with self.path.open("rb") as file:
            file.seek(start * BYTES_PER_SAMPLE)
            raw = file.read(count * BYTES_PER_SAMPLE)
        samples = np.frombuffer(raw, dtype="<i2").astype(np.float32)
        samples *= np.float32(1 / 32768)  # in place, because a division would write a second array
        return samples
