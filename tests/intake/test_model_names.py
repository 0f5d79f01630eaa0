"""A model has its own name and the operator's aliases."""

from dataclasses import replace

import pytest

from app.errors import InvalidRequest
from app.intake.model_names import ModelNames
from app.intake.offered import options_in_force
from app.speech.speakers import voices
from app.transcripts.transcript import Options

NAMES = ModelNames(
    ("base", "Systran/faster-whisper-small@0123abc"), {"qwen3-asr-1.7b": "base", "openai/fast:v1": "base"}
)


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("", "base"),
        ("base", "base"),
        ("Systran/faster-whisper-small@0123abc", "Systran/faster-whisper-small@0123abc"),
        ("qwen3-asr-1.7b", "base"),
        ("openai/fast:v1", "base"),
        ("Systran/faster-whisper-small", None),
        ("BASE", None),
        ("whisper-1", None),
    ],
)
def test_a_name_means_a_served_model_or_none(name: str, model: str | None) -> None:
    assert NAMES.resolve(name) == model


def test_an_error_about_a_model_names_the_models_and_the_aliases_if_there_are_any() -> None:
    assert ModelNames(("base", "small")).in_words() == "base, small"
    assert ModelNames(("base", "small"), {"fast": "base"}).in_words() == "base, small; or an alias: fast"


@pytest.fixture
def with_voices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(voices, "installed", lambda: True)


def test_voices_are_refused_if_their_models_are_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(voices, "installed", lambda: False)
    with pytest.raises(InvalidRequest) as caught:
        options_in_force(Options(model="", diarize=True), ModelNames(["base"]))
    [error] = caught.value.errors
    assert error.field == "diarize"
    assert "`make speakers`" in error.detail
    assert "use channels=split" in error.detail


@pytest.mark.usefixtures("with_voices")
def test_voices_are_taken_if_their_models_are_installed() -> None:
    found = options_in_force(Options(model="", diarize=True, speakers=3), ModelNames(["base"]))
    assert (found.diarize, found.speakers) == (True, 3)


@pytest.mark.usefixtures("with_voices")
def test_no_label_may_be_the_name_of_another_channels_voice() -> None:
    asked = Options(model="", diarize=True, channels="split", channel_labels=("agent", "agent_2"))
    with pytest.raises(InvalidRequest) as caught:
        options_in_force(asked, ModelNames(["base"]))
    assert [error.field for error in caught.value.errors] == ["channel_labels"]
    options_in_force(replace(asked, diarize=False), ModelNames(["base"]))
