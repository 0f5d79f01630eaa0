"""The short form of `python -m proofs.pipeline --only stream`."""

from pathlib import Path

import pytest

from proofs.pipeline.stream import stream


@pytest.mark.slow
async def test_killed_servers_and_consumers_lose_no_entry_and_make_no_second_job(workspace: Path) -> None:
    figures = await stream(workspace / "stream", messages=60, kills=2)
    assert [str(figure) for figure in figures if not figure.kept] == []
    assert {figure.what: figure.value for figure in figures}["entries that became jobs"] >= 54
