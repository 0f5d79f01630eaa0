"""What a machine has for a model on a GPU, and what it lacks, in one line."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from app.speech.gpu import Driver, DriverFailed, Gpu
from app.speech.whisper.device import CUBLAS
from proofs.gpu.cublas import Cublas, candidates

OLDEST_CUDA = (12, 0)  # CTranslate2's wheel is built with CUDA 12


class Missing(Exception):
    """This machine cannot run a model on a GPU. The message says what is missing."""


@dataclass(frozen=True)
class Machine:
    gpus: list[Gpu]
    cuda: tuple[int, int]
    cublas: list[Cublas]

    @property
    def facts(self) -> Mapping[str, Any]:
        return {
            "gpus": [asdict(gpu) for gpu in self.gpus],
            "driver for CUDA": ".".join(map(str, self.cuda)),
            "cuBLAS": [each.title for each in self.cublas],
        }


def look() -> Machine:
    """Raises Missing."""
    try:
        driver = Driver()
        gpus, cuda = driver.gpus(), driver.cuda_version
    except DriverFailed as error:
        raise Missing(f"missing: {error}") from None
    if not gpus:
        raise Missing("missing: a GPU; the driver finds none (CUDA_VISIBLE_DEVICES may hide it)")
    if cuda < OLDEST_CUDA:
        raise Missing(f"missing: a driver for CUDA 12 or newer; this one is for CUDA {cuda[0]}.{cuda[1]}")
    if not (cublas := candidates()):
        raise Missing(
            f"missing: cuBLAS; there is neither {CUBLAS} nor libcublas.so.13. Install CUDA 12 or 13, or pack again with"
            " CUBLAS=1"
        )
    return Machine(gpus, cuda, cublas)


def described(facts: Mapping[str, Any]) -> str:
    return "\n".join(
        f"{name}: {value if isinstance(value, str) else json.dumps(value)}" for name, value in facts.items()
    )
