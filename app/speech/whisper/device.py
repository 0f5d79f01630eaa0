"""Decides where models run: on a GPU that has everything CTranslate2 needs, or on the processor."""

import ctypes
import logging
from functools import cache

import ctranslate2

from app.process.cores import cores
from app.speech.model import Device, DeviceChoice, ModelUnavailable

CUBLAS = "libcublas.so.12"  # is not in CTranslate2's wheel, which loads it only when it first multiplies
NOT_FOR_ARRAYS = {"bfloat16", "int8_bfloat16"}  # NumPy, which picks the rows, does not have these types
logger = logging.getLogger(__name__)


def find_device(choice: DeviceChoice) -> Device:
    """Returns where models run. `auto` means all GPUs with float16 if they can be used, or the processor with int8.

    Raises ModelUnavailable if this machine lacks what the operator has chosen.
    """
    kind, indexes, compute_type = choice.kind, choice.indexes, choice.compute_type
    gpus = ctranslate2.get_cuda_device_count()
    if kind == "cuda" or (kind == "auto" and gpus):
        gpu = _gpu(indexes, gpus, "float16" if compute_type == "auto" else compute_type)
        lack = _lack(gpu)
        if not lack:
            return gpu
        if kind == "cuda":
            raise ModelUnavailable(f"No model can run on cuda: {lack}")
        _warn(lack)
    device = Device("cpu", (0,), cores(), "int8" if compute_type == "auto" else compute_type)
    if lack := _lack(device):
        raise ModelUnavailable(f"No model can run on this processor: {lack}")
    return device


@cache  # because each model asks
def _warn(lack: str) -> None:
    logger.warning("models run on the processor, not on cuda: %s", lack)


def _gpu(indexes: tuple[int, ...], gpus: int, compute_type: str) -> Device:
    indexes = indexes or tuple(range(gpus))
    if not gpus:
        raise ModelUnavailable("No model can run on cuda: no GPU is found; set CALLSCRIBE_DEVICE to cpu or auto")
    if not set(indexes) <= set(range(gpus)):
        raise ModelUnavailable(
            f"No model can run on cuda {', '.join(map(str, indexes))}: {gpus} GPUs are found, counted from 0;"
            " set CALLSCRIBE_DEVICE_INDEX to theirs"
        )
    return Device("cuda", indexes, len(indexes), compute_type)


def _lack(device: Device) -> str:
    """Why models cannot run there, and what to do; empty if they can."""
    if device.kind == "cuda" and not _loads(CUBLAS):
        return f"{CUBLAS} cannot be loaded; put NVIDIA's cuBLAS 12 on LD_LIBRARY_PATH, or set CALLSCRIBE_DEVICE=cpu"
    of_each = [ctranslate2.get_supported_compute_types(device.kind, index) for index in device.indexes]
    known = set.intersection(*of_each) - NOT_FOR_ARRAYS
    if device.compute_type not in known:
        return (
            f"it cannot compute with {device.compute_type}; set CALLSCRIBE_COMPUTE_TYPE to auto, or to one of"
            f" {', '.join(sorted(known))}"
        )
    return ""


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True
