"""The table of decisions for GPUs, as it is in the package, and how its rows are found."""

from collections.abc import Iterable
from pathlib import Path

import pytest

from app.speech.whisper.gpu_table import MOST_WINDOWS, TABLE, GpuRow, GpuTable, read, row_for, write

WIDTHS = (384, 512, 768, 1024, 1280)  # of tiny, base, small, medium and large
MEMORIES = (None, 3.9, 5.8, 7.8, 11.6, 15.7, 23.6, 39.4, 47.5, 79.1, 141.0)  # GiB, as GPUs report them
HEADS = {384: 6, 512: 8, 768: 12, 1024: 16, 1280: 20}


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("memory", MEMORIES)
def test_every_model_and_gpu_has_a_row(width: int, memory: float | None) -> None:
    row = row_for(read(), width, memory)
    assert 1 <= row.batch_size <= MOST_WINDOWS
    assert row.threads >= 1


@pytest.mark.parametrize("width", WIDTHS)
def test_the_attention_weights_of_the_largest_batch_are_counted_in_32_bits(width: int) -> None:
    assert MOST_WINDOWS * HEADS[width] * 1500 * 1500 < 2**32


def test_estimates_hold_more_windows_only_for_more_memory_or_a_smaller_model() -> None:
    rows = [[row_for(read(), width, memory) for memory in MEMORIES] for width in WIDTHS]
    for by_memory in rows:
        assert _estimates(by_memory) == sorted(_estimates(by_memory))
    for by_width in zip(*rows, strict=True):
        assert _estimates(by_width) == sorted(_estimates(by_width), reverse=True)


@pytest.mark.parametrize(
    ("width", "memory", "batch_size"),
    [(512, 12.4, 1), (512, 13.0, 2), (513, 12.0, 3), (513, 13.0, 4), (2048, 141.0, 4), (512, None, 1)],
)
def test_the_first_row_that_fits_counts(width: int, memory: float | None, batch_size: int) -> None:
    limits = [(512, 12), (512, None), (None, 12), (None, None)]
    rows = [GpuRow(*limit, batch_size=number, threads=1, measured=None) for number, limit in enumerate(limits, 1)]
    assert row_for(GpuTable("float16", rows), width, memory).batch_size == batch_size


def test_a_written_table_is_the_table_that_was_read(tmp_path: Path) -> None:
    table = read()
    write(table, tmp_path / "gpu.json")
    assert read(tmp_path / "gpu.json") == table
    assert (tmp_path / "gpu.json").read_text() == TABLE.read_text()


def _estimates(rows: Iterable[GpuRow]) -> list[int]:
    return [row.batch_size for row in rows if row.measured is None]
