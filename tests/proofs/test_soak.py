"""Runs small soak scenarios from end to end. It checks few figures, because the others need a quiet machine."""

from pathlib import Path

import pytest

from proofs.bench.work import MODEL
from proofs.chaos.figures import Figure
from proofs.soak.scenarios import beside, long, many, silence
from testing.service import serving


@pytest.mark.slow
def test_every_scenario_in_small(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(tmp_path / "data", MODEL=MODEL, DEVICE="cpu") as service:
        memory = long(service, tmp_path, seconds=15)  # first, while the service still uses little memory
        wordless = silence(service, tmp_path, seconds=3)
        short_calls = beside(service, tmp_path, seconds=3, long_seconds=900, tries=1)
        rounds = many(service, tmp_path, rounds=2, jobs=2, seconds=5)
    assert [figure.value for figure in wordless] == [0, 0, 0, 0]
    assert short_calls[-1].kept
    assert memory[0].value < memory[1].value  # a transcript takes some memory
    assert "round 2 of 2: " in capsys.readouterr().out
    assert rounds[-1] == Figure.none("recordings and decoded audio that were left", 0)


def test_growth_beyond_its_limit_is_not_kept() -> None:
    assert Figure.within("open files more than then", -3, 5).kept
    assert not Figure.within("open files more than then", 6, 5).kept
