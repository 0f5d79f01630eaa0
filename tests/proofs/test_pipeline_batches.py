"""Runs a small form of the proof of batches from end to end."""

import asyncio
from pathlib import Path

import pytest

from proofs.pipeline.batches import killed, speed


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_a_batch_is_fed_through_a_kill_and_its_report_is_true(workspace: Path) -> None:
    figures = await asyncio.to_thread(killed, workspace / "batches", rows=200, kills=1)
    assert [str(figure) for figure in figures if not figure.kept] == []


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_feeding_needs_little_memory(workspace: Path) -> None:
    """It checks no speed, because that needs a quiet machine."""
    folder = workspace / "batches-speed"
    folder.mkdir()
    figures = await speed(folder, rows=2000)
    assert [str(figure) for figure in figures if not figure.kept and "ms for each row" not in figure.what] == []
