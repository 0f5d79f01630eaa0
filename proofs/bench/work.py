"""Defines what a contender is, and what all have in common: the CPU, one model, int8, and a beam of five."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from proofs.bench.calls import Call, Piece

MODEL = "base"
BEAM_SIZE = 5
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

Report = Callable[[Call, list[Piece]], None]
"""Called with the transcript of a call, from any thread."""

Work = Callable[[Report], None]
"""The part that is measured."""

Contender = Callable[[Path, Sequence[Call]], Work]
"""Loads its model from a folder and prepares for these calls. Neither is measured."""
