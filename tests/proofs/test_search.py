"""A small form of the proof of the search."""

from pathlib import Path

import pytest

from proofs.search.__main__ import SEARCHES, play


@pytest.mark.slow
async def test_every_search_of_the_proof_is_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    await play(tmp_path / "postgres", calls=1000, tries=1)
    shown = capsys.readouterr().out
    assert all(name in shown for name in SEARCHES)
    [line] = [line for line in shown.splitlines() if line.startswith("one call of 100 ")]
    assert line.endswith("10 calls")
