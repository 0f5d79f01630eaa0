"""A small form of the proof of the page."""

from pathlib import Path

import pytest

from proofs.page.__main__ import MANY, play
from tests.api.page.conftest import in_a_browser


@pytest.mark.slow
@in_a_browser
def test_the_page_is_opened_with_few_and_with_many_calls(tmp_path: Path) -> None:
    figures = play(tmp_path, openings=1)
    assert all(figure.value > 0 for figure in figures)
    assert sum(f"{MANY} calls" in figure.what for figure in figures) == 5
