"""What clients call a language is understood, and every language of every model can be named."""

import pytest

from app.speech.language_tags import code_of, name_of
from app.speech.whisper.languages import languages


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ("en", "en"),
        ("EN", "en"),
        (" en ", "en"),
        ("en-US", "en"),
        ("pt_BR", "pt"),
        ("de_DE.UTF-8", "de"),
        ("de_DE@euro", "de"),
        ("zh-Hans-CN", "zh"),
        ("zh-yue-HK", "zh"),
        ("es-419", "es"),
        ("fil", "tl"),
        ("fil-PH", "tl"),
        ("tl", "tl"),
        ("no", "no"),
        ("nb-NO", "no"),
        ("nn", "nn"),
        ("iw", "he"),
        ("he-IL", "he"),
        ("in", "id"),
        ("ji", "yi"),
        ("jv", "jw"),
        ("jw", "jw"),
        ("yue", "yue"),
        ("cmn", "zh"),
        ("cmn-Hans-CN", "zh"),
        ("zho", "zh"),
        ("chi", "zh"),
        ("eng", "en"),
        ("deu", "de"),
        ("ger", "de"),
        ("haw", "haw"),
        ("English", "en"),
        ("english (United States)", "en"),
        ("Haitian Creole", "ht"),
        ("Flemish", "nl"),
        ("Bokmål", "no"),
        ("auto", "auto"),
        ("Auto", "auto"),
        ("und", "auto"),
        ("", "auto"),
        ("ga-IE", "ga"),
    ],
)
def test_a_language_is_understood(asked: str, code: str) -> None:
    assert code_of(asked) == code


@pytest.mark.parametrize("asked", ["Klingon", "e", "en-", "-en", "en US!", "x-klingon", "ＥＮ", "en\0", "123", "en,de"])
def test_a_text_that_names_no_language_is_refused(asked: str) -> None:
    with pytest.raises(ValueError, match="must be auto, or a language such as en, en-US, eng or English"):
        code_of(asked)


@pytest.mark.parametrize("code", languages("large-v3"))
def test_every_language_of_a_model_keeps_its_code(code: str) -> None:
    assert code_of(code) == code
    assert code_of(f"{code}-XX") == code


@pytest.mark.parametrize("code", languages("large-v3"))
def test_every_language_of_a_model_has_a_name_that_is_understood_again(code: str) -> None:
    name = name_of(code)
    assert len(name) > 3 or name == "lao"
    assert name == name.lower()
    assert code_of(name) == code


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("en", "english"),
        ("zh", "chinese"),
        ("yue", "cantonese"),
        ("es", "spanish"),
        ("nl", "dutch"),
        ("no", "norwegian"),
        ("ht", "haitian creole"),
        ("ps", "pashto"),
        ("lb", "luxembourgish"),
        ("haw", "hawaiian"),
        ("lo", "lao"),
        ("ga", "ga"),
    ],
)
def test_a_language_has_the_name_that_whisper_writes(code: str, name: str) -> None:
    assert name_of(code) == name
