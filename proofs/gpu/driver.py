"""Asks NVIDIA's driver for GPUs and their memory, and takes memory so that others lack it. Needs no CUDA toolkit."""

import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

from app.speech.whisper.device import DRIVER

MEBIBYTE = 1024**2
SAMPLING_SECONDS = 0.005
CAPABILITY_MAJOR, CAPABILITY_MINOR = 75, 76  # attributes of cuda.h


class DriverFailed(Exception):
    """Something is missing for the driver, or it refused a call. The message says what."""


@dataclass(frozen=True)
class Gpu:
    index: int
    name: str
    memory_mib: int
    capability: str


@dataclass
class PeakMemory:
    """`peak_mib` is by how much the used memory of a GPU rose at most; None without a GPU."""

    peak_mib: float | None = None


class Driver:
    """The driver's own library. Raises DriverFailed if there is none, or if it finds no GPU."""

    def __init__(self) -> None:
        self._contexts: dict[int, ctypes.c_void_p] = {}
        try:
            self._cuda: Any = ctypes.CDLL(DRIVER)
        except OSError:
            raise DriverFailed(f"NVIDIA's driver; {DRIVER} cannot be loaded") from None
        if error := self._cuda.cuInit(0):
            raise DriverFailed(f"a GPU that works; cuInit of the driver failed with error {error}")

    @property
    def cuda_version(self) -> tuple[int, int]:
        """The newest CUDA that the driver supports."""
        number = ctypes.c_int()
        self._call("cuDriverGetVersion", ctypes.byref(number))
        return number.value // 1000, number.value % 1000 // 10

    def gpus(self) -> list[Gpu]:
        count = ctypes.c_int()
        self._call("cuDeviceGetCount", ctypes.byref(count))
        return [self._gpu(index) for index in range(count.value)]

    def used_mib(self, index: int) -> float:
        """The memory that all programs use on a GPU together."""
        free, total = self._memory(index)
        return (total - free) / MEBIBYTE

    def free_mib(self, index: int) -> float:
        return self._memory(index)[0] / MEBIBYTE

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

    def _memory(self, index: int) -> tuple[int, int]:
        self._enter(index)
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        self._call("cuMemGetInfo_v2", ctypes.byref(free), ctypes.byref(total))
        return free.value, total.value

    def _enter(self, index: int) -> None:
        """Makes the GPU's context, which CTranslate2 uses too, that of this thread."""
        if index not in self._contexts:
            context = ctypes.c_void_p()
            self._call("cuDevicePrimaryCtxRetain", ctypes.byref(context), self._device(index))
            self._contexts[index] = context
        self._call("cuCtxSetCurrent", self._contexts[index])

    def _gpu(self, index: int) -> Gpu:
        device, name, size = self._device(index), ctypes.create_string_buffer(128), ctypes.c_size_t()
        major, minor = ctypes.c_int(), ctypes.c_int()
        self._call("cuDeviceGetName", name, 128, device)
        self._call("cuDeviceTotalMem_v2", ctypes.byref(size), device)
        self._call("cuDeviceGetAttribute", ctypes.byref(major), CAPABILITY_MAJOR, device)
        self._call("cuDeviceGetAttribute", ctypes.byref(minor), CAPABILITY_MINOR, device)
        return Gpu(index, name.value.decode(), size.value // MEBIBYTE, f"{major.value}.{minor.value}")

    def _device(self, index: int) -> ctypes.c_int:
        device = ctypes.c_int()
        self._call("cuDeviceGet", ctypes.byref(device), index)
        return device

    def _call(self, name: str, *arguments: Any) -> None:
        if error := getattr(self._cuda, name)(*arguments):
            raise DriverFailed(f"{name} failed with error {error}")


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
