"""Decides where models run: on a GPU that has everything CTranslate2 needs, or on the processor."""

import ctypes
import logging
from dataclasses import replace
from functools import cache

import ctranslate2

from app.process.cores import cores
from app.speech.gpu import Driver, DriverFailed
from app.speech.model import Device, DeviceChoice, ModelUnavailable
from app.speech.whisper import gpu_table

CUBLAS = "libcublas.so.12"  # is not in CTranslate2's wheel, which loads it only when it first multiplies
CPU_BATCH_SIZE = 4  # as fast as 8, and each batch ends sooner
WIDEST = 1280  # of Whisper's large models
MEBIBYTES = 1024  # of a GiB
NOT_FOR_ARRAYS = {"bfloat16", "int8_bfloat16"}  # NumPy, which picks the rows, does not have these types
logger = logging.getLogger(__name__)


def find_device(choice: DeviceChoice) -> Device:
    """Returns where models run. `auto` means all GPUs with float16 if they can be used, or the processor with int8.

    On a GPU, `batch_size` and `threads` are those of the largest models until `fitted` chooses those of the model.

    Raises ModelUnavailable if this machine lacks what the operator has chosen.
    """
    kind, indexes, compute_type = choice.kind, choice.indexes, choice.compute_type
    gpus = ctranslate2.get_cuda_device_count()
    if kind == "cuda" or (kind == "auto" and gpus):
        gpu = _gpu(indexes, gpus, gpu_table.read().compute_type if compute_type == "auto" else compute_type)
        lack = _lack(gpu)
        if not lack:
            return gpu
        if kind == "cuda":
            raise ModelUnavailable(f"No model can run on cuda: {lack}")
        _warn(lack)
    device = Device("cpu", (0,), cores(), "int8" if compute_type == "auto" else compute_type, CPU_BATCH_SIZE)
    if lack := _lack(device):
        raise ModelUnavailable(f"No model can run on this processor: {lack}")
    return device


def fitted(device: Device, width: int) -> Device:
    """The device with the batch size and the threads for a model of this width, which is its numbers per frame.

    The GPU with the least memory decides, because any GPU may get any batch.
    """
    if device.kind == "cpu":
        return device
    memories = [_memory_gib(index) for index in device.indexes]
    least = None if None in memories else min(memory for memory in memories if memory is not None)
    row = gpu_table.row_for(gpu_table.read(), width, least)
    return replace(device, batch_size=row.batch_size, threads=row.threads * len(device.indexes))


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
    return fitted(Device("cuda", indexes, len(indexes), compute_type, 1), WIDEST)


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


def _memory_gib(index: int) -> float | None:
    """The memory of a GPU, or None if the driver does not say."""
    try:
        return next((gpu.memory_mib / MEBIBYTES for gpu in Driver().gpus() if gpu.index == index), None)
    except DriverFailed:
        return None
