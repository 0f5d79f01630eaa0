"""What a contender is. All run on the processor, with one model, int8, and a beam of five."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from proofs.bench.calls import Call, Piece

MODEL = "base"
BEAM_SIZE = 5
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

Report = Callable[[Call, list[Piece]], None]
"""Called when a call's transcript is there, from any thread."""

Work = Callable[[Report], None]
"""What is measured."""

Contender = Callable[[Path, Sequence[Call]], Work]
"""Loads its model, which lies in a folder, and makes ready for these calls; neither is measured."""
