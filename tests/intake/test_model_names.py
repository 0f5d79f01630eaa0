"""A model has its own name and the operator's aliases."""

import pytest

from app.intake.model_names import ModelNames

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
