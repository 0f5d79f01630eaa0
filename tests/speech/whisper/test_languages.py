import pytest

from app.speech.whisper.languages import SENTENCES, languages, translates


@pytest.mark.parametrize("model", ["base", "large-v3", "Systran/faster-whisper-medium", "/opt/turbo-distillery/mine"])
def test_most_models_can_translate(model: str) -> None:
    assert translates(model)


@pytest.mark.parametrize(
    "model",
    [
        "tiny.en",
        "turbo",
        "large-v3-turbo",
        "mobiuslabsgmbh/faster-whisper-large-v3-turbo",
        "distil-large-v3",
        "Systran/faster-distil-whisper-large-v2",
        "distil-whisper/distil-large-v3.5-ct2",
        "/models/distil-large-v3/",
    ],
)
def test_models_that_were_not_trained_to_translate_are_known(model: str) -> None:
    assert not translates(model)


@pytest.mark.parametrize("model", ["large", "large-v3", "turbo", "Systran/faster-whisper-large-v3@abc"])
def test_models_of_the_third_large_version_know_cantonese(model: str) -> None:
    assert "yue" in languages(model)
    assert "yue" not in languages("large-v2")


@pytest.mark.parametrize("model", ["tiny.en", "Systran/faster-whisper-small.en", "/models/ours.en", "/models/ours.en/"])
def test_an_english_only_model_is_known_by_its_name(model: str) -> None:
    assert languages(model) == ("en",)


def test_every_sentence_is_of_a_language_that_a_model_knows() -> None:
    assert SENTENCES.keys() <= set(languages("large-v3"))
