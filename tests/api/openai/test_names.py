"""OpenAI's names mean the default model, unless the operator gave them another meaning."""

import pytest

from app.api.openai.fields import read_fields
from app.api.openai.names import OPENAI_NAMES, model_named, names_of
from app.errors import ModelNotFound
from app.intake.model_names import ModelNames

PLAIN = ModelNames(("small", "base"))
OWN = ModelNames(("small", "gpt-transcribe"), {"whisper-1": "gpt-transcribe"})


@pytest.mark.parametrize("name", ["", *OPENAI_NAMES])
def test_a_name_of_openai_and_no_name_mean_the_default_model(name: str) -> None:
    assert model_named(PLAIN, name) == "small"


def test_a_served_model_or_an_alias_of_the_same_name_comes_first() -> None:
    assert model_named(OWN, "gpt-transcribe") == "gpt-transcribe"
    assert model_named(OWN, "whisper-1") == "gpt-transcribe"
    assert model_named(OWN, "gpt-4o-transcribe") == "small"


def test_a_form_names_a_model_in_all_these_ways() -> None:
    for name, model in (("whisper-1", "gpt-transcribe"), (" gpt-4o-transcribe ", "small"), ("", "small")):
        assert read_fields([("model", name)], OWN, "transcribe").ask.options.model == model
    with pytest.raises(ModelNotFound):
        read_fields([("model", "whisper-2")], OWN, "transcribe")


def test_each_name_is_listed_once() -> None:
    others = ["gpt-4o-transcribe", "gpt-4o-mini-transcribe", "gpt-4o-transcribe-diarize"]
    assert names_of(OWN) == ["small", "gpt-transcribe", "whisper-1", *others]


def test_an_unknown_name_is_shown_in_the_error_but_not_all_of_a_long_one() -> None:
    with pytest.raises(ModelNotFound, match=r"There is no model 'whisper-9'. Use one of: small, base, whisper-1, "):
        model_named(PLAIN, "whisper-9")
    with pytest.raises(ModelNotFound) as refused:
        model_named(PLAIN, "x" * 10_000)
    assert len(refused.value.detail) < 500
