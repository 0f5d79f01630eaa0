"""Which GPU or processor the service chooses. The answers of the GPU's driver are injected, so no GPU is needed."""

import logging
import platform
import sys
from collections.abc import Sequence
from pathlib import Path

import ctranslate2
import pytest

from app.speech import gpu
from app.speech.model import Device, DeviceChoice, ModelUnavailable
from app.speech.whisper import device
from app.speech.whisper.device import CPU_BATCH_SIZE, CUBLAS, WIDEST, find_device, fitted
from app.speech.whisper.gpu_table import read, row_for

OF_PROCESSOR = ctranslate2.get_supported_compute_types("cpu")
OF_GPU = {"float16", "int8_float16", "float32", "bfloat16"}
OF_OLD_GPU = {"float32", "int8", "bfloat16"}
SMALLEST = row_for(read(), WIDEST, None).batch_size  # what a large model gets on a GPU whose memory is not known


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Two GPUs, of which the second is an old model, and another library instead of cuBLAS."""
    types = {("cpu", 0): OF_PROCESSOR, ("cuda", 0): OF_GPU, ("cuda", 1): OF_OLD_GPU}
    monkeypatch.setattr(ctranslate2, "get_cuda_device_count", lambda: 2)
    monkeypatch.setattr(ctranslate2, "get_supported_compute_types", lambda kind, index: types[kind, index])
    monkeypatch.setattr(device, "CUBLAS", "libc.so.6")
    monkeypatch.setattr(device, "cores", lambda: 3)
    return monkeypatch


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (("auto", (0,), "auto"), Device("cuda", (0,), 1, "float16", SMALLEST)),
        (("cuda", (), "float32"), Device("cuda", (0, 1), 2, "float32", SMALLEST)),
        (("auto", (1,), "int8"), Device("cuda", (1,), 1, "int8", SMALLEST)),
        (("cpu", (), "auto"), Device("cpu", (0,), 3, "int8", CPU_BATCH_SIZE)),
    ],
)
def test_automatic_and_empty_settings_get_a_value(
    gpus: pytest.MonkeyPatch, asked: tuple[str, tuple[int, ...], str], found: Device
) -> None:
    assert find_device(DeviceChoice(*asked)) == found


@pytest.mark.parametrize(
    ("memories", "least"),
    [
        ((79.1, 79.1), 79.1),
        ((79.1, 11.6), 11.6),  # any GPU may get any batch
        ((79.1, None), None),
    ],
)
def test_the_smallest_gpu_and_the_model_decide_the_batch_size(
    monkeypatch: pytest.MonkeyPatch, memories: Sequence[float | None], least: float | None
) -> None:
    monkeypatch.setattr(device, "_memory_gib", lambda index: memories[index])
    for width in (512, 1280):
        row = row_for(read(), width, least)
        expected = Device("cuda", (0, 1), 2 * row.threads, "float16", row.batch_size)
        assert fitted(Device("cuda", (0, 1), 2, "float16", 1), width) == expected


def test_a_machine_without_the_driver_has_no_memory_of_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "DRIVER", "libcuda.so.0")
    row = row_for(read(), 512, None)
    expected = Device("cuda", (0,), row.threads, "float16", row.batch_size)
    assert fitted(Device("cuda", (0,), 1, "float16", 1), 512) == expected


def test_the_processor_keeps_its_own_batch_size() -> None:
    processor = Device("cpu", (0,), 3, "int8", CPU_BATCH_SIZE)
    assert fitted(processor, 1280) == processor


def test_the_processor_is_used_if_cublas_is_missing(gpus: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    gpus.setattr(device, "CUBLAS", "libcublas.so.0")

    assert find_device(DeviceChoice("auto", (), "auto")) == Device("cpu", (0,), 3, "int8", CPU_BATCH_SIZE)
    [warning] = caplog.records
    assert warning.levelno == logging.WARNING
    assert "libcublas.so.0" in warning.getMessage()


def test_cuda_without_cublas_is_refused_with_advice(gpus: pytest.MonkeyPatch) -> None:
    gpus.setattr(device, "CUBLAS", "libcublas.so.0")

    with pytest.raises(ModelUnavailable, match=r"libcublas\.so\.0.*CALLSCRIBE_DEVICE=cpu"):
        find_device(DeviceChoice("cuda", (0,), "auto"))


def test_the_processor_is_used_if_the_gpu_lacks_the_type(
    gpus: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert find_device(DeviceChoice("auto", (1,), "auto")).kind == "cpu"
    assert "it cannot compute with float16" in caplog.text
    with pytest.raises(ModelUnavailable, match="CALLSCRIBE_COMPUTE_TYPE to auto, or to one of float32, int8"):
        find_device(DeviceChoice("cuda", (1,), "auto"))


def test_a_missing_gpu_is_refused(gpus: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelUnavailable, match=r"No model can run on cuda 2: 2 GPUs.* CALLSCRIBE_DEVICE_INDEX"):
        find_device(DeviceChoice("auto", (2,), "auto"))


def test_cuda_without_a_gpu_is_refused_with_advice(gpus: pytest.MonkeyPatch) -> None:
    gpus.setattr(ctranslate2, "get_cuda_device_count", lambda: 0)
    with pytest.raises(ModelUnavailable, match="on cuda: no GPU is found; set CALLSCRIBE_DEVICE to cpu or auto"):
        find_device(DeviceChoice("cuda", (), "auto"))


@pytest.mark.skipif(
    (sys.platform, platform.machine()) != ("linux", "x86_64"), reason="this wheel does not support GPUs"
)
def test_ctranslate2_opens_cublas_under_the_name_that_is_checked() -> None:
    libraries = Path(ctranslate2.__file__).parents[1].glob("ctranslate2.libs/libctranslate2*")
    assert any(CUBLAS.encode() + b"\0" in library.read_bytes() for library in libraries)
