"""Asks NVIDIA's driver for GPUs and their memory. It needs no CUDA toolkit, and knows no model.

The driver counts GPUs as CTranslate2 does. `nvidia-smi` and NVML would also count those that CUDA_VISIBLE_DEVICES
hides, and may be missing in a container.
"""

import ctypes
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DRIVER = "libcuda.so.1"  # comes with NVIDIA's driver, so it is on every machine where a GPU works
VERSION = Path("/proc/driver/nvidia/version")
MEBIBYTE = 1024**2
CAPABILITY_MAJOR, CAPABILITY_MINOR = 75, 76  # attributes of cuda.h


class DriverFailed(Exception):
    """Something is missing for the driver, or it refused a call. The message says what."""


class DriverMissing(DriverFailed):
    """The driver is not installed, or not visible in this container."""


@dataclass(frozen=True)
class Gpu:
    index: int
    name: str
    memory_mib: int
    capability: str


class Driver:
    """The driver's own library. Raises DriverFailed if there is none, or if it finds no GPU."""

    def __init__(self) -> None:
        self._contexts: dict[int, ctypes.c_void_p] = {}
        try:
            self._cuda: Any = ctypes.CDLL(DRIVER)
        except OSError:
            raise DriverMissing(f"NVIDIA's driver; {DRIVER} cannot be loaded") from None
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

    def free_mib(self, index: int) -> float:
        """The memory that no program uses. It makes a context on the GPU, which itself takes some hundred MiB."""
        return self._memory(index)[0] / MEBIBYTE

    def used_mib(self, index: int) -> float:
        """The memory that all programs use on a GPU together. It makes a context on the GPU."""
        free, total = self._memory(index)
        return (total - free) / MEBIBYTE

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


def driver_version() -> str | None:
    """Returns the version of the driver that the kernel has loaded, such as 570.86.15. None if it does not say."""
    try:
        found = re.search(r"\b\d{3}\.\d+(\.\d+)?\b", VERSION.read_text())
    except OSError:
        return None
    return found[0] if found else None
