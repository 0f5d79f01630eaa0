"""`callscribe transcribe --language` takes what the API takes."""

import pytest
import typer

from app.cli.arguments import options
from app.transcripts.transcript import Options


@pytest.mark.parametrize(("asked", "code"), [("en-US", "en"), ("German", "de"), ("auto", None), ("", None)])
def test_a_language_may_be_a_tag_or_a_name(asked: str, code: str | None) -> None:
    assert options(Options("base", language=asked)).language == code


@pytest.mark.parametrize("asked", ["Klingon", "ga-IE"])
def test_an_unknown_language_is_refused(asked: str) -> None:
    with pytest.raises(typer.BadParameter, match="language"):
        options(Options("base", language=asked))
