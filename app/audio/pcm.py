"""Decoded audio on disk: one file a channel, 16 kHz mono, signed 16-bit little endian.

It exists so that a recording of hours is read in pieces and never held in memory. It must not know where the samples
come from, or what they become.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE = 16_000
BYTES_PER_SAMPLE = 2


@dataclass(frozen=True, slots=True)
class PcmFile:
    path: Path

    @property
    def samples(self) -> int:
        return self.path.stat().st_size // BYTES_PER_SAMPLE

    @property
    def duration_seconds(self) -> float:
        return self.samples / SAMPLE_RATE

    def read(self, start: int, count: int) -> NDArray[np.float32]:
        """Up to `count` samples in −1…1, beginning with sample `start`; fewer at the end of the file."""
        with self.path.open("rb") as file:
            file.seek(start * BYTES_PER_SAMPLE)
            raw = file.read(count * BYTES_PER_SAMPLE)
        return np.frombuffer(raw, dtype="<i2").astype(np.float32) / 32768.0
