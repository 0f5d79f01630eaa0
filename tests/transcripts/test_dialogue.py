import pytest

from app.transcripts.dialogue import turns
from app.transcripts.transcript import Segment, Turn


def said(start: float, end: float, text: str, speaker: str = "agent", language: str = "en") -> Segment:
    channel = int(speaker == "customer")
    return Segment(7, channel, speaker, start, end, text, language, 0.0, -0.2, 1.2, 0.01)


def test_a_turn_is_what_one_speaker_says_before_the_other_speaks() -> None:
    agent = [said(0, 2, "Hello."), said(2.5, 4, "Anna here."), said(8, 9, "Sure.")]
    customer = [said(3.5, 7, "Hi, it's Tom.", "customer")]

    assert turns([*agent, *customer]) == (
        Turn("agent", 0, 4, "Hello. Anna here."),
        Turn("customer", 3.5, 7, "Hi, it's Tom."),
        Turn("agent", 8, 9, "Sure."),
    )


@pytest.mark.parametrize(("resumes_at", "count"), [(5.0, 1), (5.01, 2)])
def test_a_pause_of_more_than_three_seconds_starts_a_new_turn(resumes_at: float, count: int) -> None:
    assert len(turns([said(0, 2, "One moment."), said(resumes_at, 9, "Here it is.")])) == count


def test_a_turn_ends_with_its_last_word_even_when_segments_overlap() -> None:
    assert turns([said(0, 6, "So I said"), said(4, 5, "no.")]) == (Turn("agent", 0, 6, "So I said no."),)


@pytest.mark.parametrize(
    ("language", "texts", "joined"),
    [
        ("en", ("Good morning.", "How are you?"), "Good morning. How are you?"),
        ("ko", ("안녕하세요.", "네."), "안녕하세요. 네."),
        ("zh", ("你好。", "你好吗？"), "你好。你好吗？"),
        ("ja", ("はい。", "iPhoneです。"), "はい。iPhoneです。"),
        ("th", ("สวัสดี", "ครับ"), "สวัสดีครับ"),
        ("zh", ("Good morning.", "How are you?"), "Good morning. How are you?"),  # translated to English
    ],
)
def test_texts_are_joined_with_spaces_only_if_their_language_has_them(
    language: str, texts: tuple[str, str], joined: str
) -> None:
    first, second = texts
    (turn,) = turns([said(0, 1, first, language=language), said(1, 2, second, language=language)])
    assert turn.text == joined
