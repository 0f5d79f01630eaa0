"""Words are shown when two passes in a row agree on them, and then stay."""

import pytest

from app.speech.live.agreement import Agreement, parts_of


def shown(*texts: str) -> list[str]:
    """What is shown after each pass."""
    agreement = Agreement()
    return [agreement.text for text in texts if agreement.hear(text) or True]


def test_a_word_is_shown_when_two_passes_agree_on_it() -> None:
    assert shown("Good", "Good morning,", "Good morning, my name") == ["", "Good", "Good morning,"]


def test_words_that_change_are_not_shown() -> None:
    assert shown("I like", "I bike", "I bike to work") == ["", "I", "I bike"]


def test_case_and_punctuation_are_no_difference() -> None:
    assert shown("yes of", "Yes, of course", "Yes, of course.") == ["", "Yes, of", "Yes, of course."]


def test_what_is_shown_stays() -> None:
    assert shown("my name is", "my name is Ann", "Your name is Anna B")[-1] == "my name is"
    assert shown("one two", "one two three", "one", "one two three four")[-1].startswith("one two")


@pytest.mark.parametrize(
    ("text", "parts"),
    [("你好 world", ["你", "好", " world"]), ("a  b", ["a", "  b"]), ("", []), ("สวัสดี", list("สวัสดี"))],
)
def test_scripts_without_spaces_agree_by_characters(text: str, parts: list[str]) -> None:
    assert parts_of(text) == parts
