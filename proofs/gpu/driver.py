"""Measures the memory of a GPU, and takes memory so that others lack it. Needs no CUDA toolkit."""

import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

from app.speech.gpu import MEBIBYTE, Driver

SAMPLING_SECONDS = 0.005


@dataclass
class PeakMemory:
    """`peak_mib` is by how much the used memory of a GPU rose at most; None without a GPU."""

    peak_mib: float | None = None


class HoldingDriver(Driver):
    @contextmanager
    def holding(self, index: int, mib: float) -> Iterator[None]:
        """Takes memory of a GPU until the end of the block."""
        self._enter(index)
        address = ctypes.c_uint64()
        self._call("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(round(mib * MEBIBYTE)))
        try:
            yield
        finally:
            self._enter(index)
            self._call("cuMemFree_v2", address)


@contextmanager
def peak_memory(driver: Driver | None, index: int) -> Iterator[PeakMemory]:
    """Measures the memory of a GPU every 5 ms until the end of the block. Measures nothing without a driver."""
    peak = PeakMemory()
    with _sampling(driver, index, peak) if driver else nullcontext():
        yield peak


@contextmanager
def _sampling(driver: Driver, index: int, peak: PeakMemory) -> Iterator[None]:
    stop = threading.Event()
    base, peak.peak_mib = driver.used_mib(index), 0.0

    def sample() -> None:
        while not stop.wait(SAMPLING_SECONDS):
            peak.peak_mib = max(peak.peak_mib or 0.0, driver.used_mib(index) - base)

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
