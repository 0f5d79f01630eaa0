"""Measured speeds → the row of a GPU and a model in the table of decisions, `app/speech/whisper/gpu.json`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from app.speech.whisper.gpu_table import GpuTable, row_for

GAIN = 0.03  # a larger batch, or one more thread, must be faster by this share; less is noise
ROOM = 0.8  # of a GPU's memory that full batches may take


@dataclass(frozen=True)
class Speed:
    """The engine's `x` with these batches and this number of threads for each GPU."""

    batch_size: int
    threads: int
    x: float
    gpu_mib: float | None


def best(speeds: Sequence[Speed], memory_mib: float) -> Speed | None:
    """The fastest way, with the smallest batches and the fewest threads if several are equally fast.

    Small batches end sooner, so that short calls wait less, and leave memory to others.
    """
    fitting = [speed for speed in speeds if speed.gpu_mib is None or speed.gpu_mib <= ROOM * memory_mib]
    if not fitting:
        return None
    enough = max(speed.x for speed in fitting) / (1 + GAIN)
    return min((speed for speed in fitting if speed.x >= enough), key=lambda speed: (speed.threads, speed.batch_size))


def refreshed(
    table: GpuTable, width: int, memory_gib: float, speed: Speed, measured: Mapping[str, str | float]
) -> GpuTable:
    """The table with the measured values in the row of this model and GPU. All other rows stay as they are."""
    old = row_for(table, width, memory_gib)
    new = replace(old, batch_size=speed.batch_size, threads=speed.threads, measured=measured)
    return replace(table, rows=[new if row is old else row for row in table.rows])
