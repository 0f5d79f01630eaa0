"""Reads from `gpu.json` how a model uses a GPU: how many windows it recognizes together, and with how many threads.

The script `proofs/gpu` measures these values on a GPU and writes them (docs/gpu.md). This module knows no model and no
driver, so it imports without the model's libraries.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

TABLE = Path(__file__).with_name("gpu.json")

MOST_WINDOWS = 64
"""No batch may hold more. CTranslate2 counts attention weights in 32 bits: heads × 1500² × windows. The models large
exceed this with 96 windows, and nothing reports it."""


@dataclass(frozen=True, slots=True)
class GpuRow:
    """How models up to `width` numbers per frame use GPUs up to `memory_gib`. None means any.

    `threads` is for each GPU. `measured` says by which GPU and when the row was measured; None if it is only estimated.
    """

    width: int | None
    memory_gib: int | None
    batch_size: int
    threads: int
    measured: Mapping[str, str | float] | None


@dataclass(frozen=True, slots=True)
class GpuTable:
    """The first row that fits counts, so the rows ascend in width and then in memory."""

    compute_type: str
    rows: Sequence[GpuRow]


def read(path: Path | None = None) -> GpuTable:
    table: Any = json.loads((path or TABLE).read_text())
    return GpuTable(table["compute_type"], tuple(GpuRow(**row) for row in table["rows"]))


def write(table: GpuTable, path: Path) -> None:
    """Writes a row on each line, so that a person can compare versions."""
    rows = ",\n".join(f"    {json.dumps(asdict(row))}" for row in table.rows)
    path.write_text(f'{{\n  "compute_type": {json.dumps(table.compute_type)},\n  "rows": [\n{rows}\n  ]\n}}\n')


def row_for(table: GpuTable, width: int, memory_gib: float | None) -> GpuRow:
    """The row of a model and a GPU. If the memory is not known, the smallest GPU is assumed.

    Memory is rounded to GiB, because a GPU that is sold with 12 GiB reports a little less or more.
    """
    gib = 0 if memory_gib is None else round(memory_gib)
    return next(
        row
        for row in table.rows
        if (row.width is None or width <= row.width) and (row.memory_gib is None or gib <= row.memory_gib)
    )
