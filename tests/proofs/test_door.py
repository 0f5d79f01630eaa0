"""Runs small forms of the door's scenarios from end to end. It checks no speeds, because these need a quiet machine."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from proofs.chaos.figures import Figure
from proofs.door.crowd import waiting
from proofs.door.latency import ends
from proofs.door.same_text import same_text

SPEEDS = ("/healthz", "from the job's end", "answers of all formats", "streams, up to")


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_clients_that_wait_cost_no_connection_and_no_thread(workspace: Path) -> None:
    assert broken(await waiting(workspace / "door-waiting", clients=10, seconds=1.0)) == []


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_each_format_and_each_stream_ends_with_its_job(workspace: Path) -> None:
    figures = await ends(workspace / "door-ends", rounds=1)
    assert len(figures) == 14
    assert broken(figures) == []


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_both_doors_give_the_same_text(workspace: Path) -> None:
    assert broken(await same_text(workspace / "door-same-text", count=2)) == []


def broken(figures: Sequence[Figure]) -> list[str]:
    """Returns the figures that are not as promised, except speeds."""
    return [str(figure) for figure in figures if not figure.kept and not any(word in figure.what for word in SPEEDS)]
