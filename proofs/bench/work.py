"""Defines what a contender is, and what all have in common: the processor, one model, int8, and a beam of five.

`proofs/gpu` runs the same contenders on a GPU, with float16. It sets the variables BENCH_MODEL and BENCH_DEVICE.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from proofs.bench.calls import Call, Piece

MODEL = os.environ.get("BENCH_MODEL", "base")
DEVICE = os.environ.get("BENCH_DEVICE", "cpu")
COMPUTE_TYPE = "int8" if DEVICE == "cpu" else "float16"
BEAM_SIZE = 5
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

Report = Callable[[Call, list[Piece]], None]
"""Called with the transcript of a call, from any thread."""

Work = Callable[[Report], None]
"""The part that is measured."""

Contender = Callable[[Path, Sequence[Call]], Work]
"""Loads its model from a folder and prepares for these calls. Neither is measured."""
