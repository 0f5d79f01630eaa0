"""`callscribe transcribe --language` takes what the API takes."""

import pytest
import typer

from app.cli.arguments import options
from app.speech.families import Families
from app.speech.speakers import voices
from app.transcripts.transcript import Options


@pytest.mark.parametrize(("asked", "code"), [("en-US", "en"), ("German", "de"), ("auto", None), ("", None)])
def test_a_language_may_be_a_tag_or_a_name(asked: str, code: str | None) -> None:
    assert options(Options("base", language=asked), Families()).language == code


@pytest.mark.parametrize("asked", ["Klingon", "ga-IE"])
def test_an_unknown_language_is_refused(asked: str) -> None:
    with pytest.raises(typer.BadParameter, match="language"):
        options(Options("base", language=asked), Families())


@pytest.mark.parametrize(
    ("asked", "codes"), [((), ()), (("en", "es-MX"), ("en", "es")), (("English", "eng"), ("en",)), (("de",), ("de",))]
)
def test_candidates_may_be_tags_or_names(asked: tuple[str, ...], codes: tuple[str, ...]) -> None:
    assert options(Options("base", languages=asked), Families()).languages == codes


@pytest.mark.parametrize(
    ("language", "asked", "error"),
    [
        (None, ("en", "auto"), "auto is none"),
        (None, ("en", "ga"), "'ga' is not a language of the model base"),
        (None, ("en", "Klingon"), "'Klingon' is no language"),
        ("de", ("en", "de"), "leave --language out"),
    ],
)
def test_candidates_that_cannot_be_used_are_refused(language: str | None, asked: tuple[str, ...], error: str) -> None:
    with pytest.raises(typer.BadParameter, match=error) as refusal:
        options(Options("base", language=language, languages=asked), Families())
    assert refusal.value.param_hint == "--languages"


def test_a_number_of_speakers_needs_that_they_are_told_apart() -> None:
    with pytest.raises(typer.BadParameter, match="needs --diarize"):
        options(Options("base", speakers=3), Families())
    assert options(Options("base", diarize=True, speakers=3), Families()).speakers == 3


def test_diarize_needs_the_models_of_voices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(voices, "installed", lambda: False)
    with pytest.raises(typer.BadParameter, match="make speakers"):
        options(Options("base", diarize=True), Families())
