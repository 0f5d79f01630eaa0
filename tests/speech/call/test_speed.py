import pytest

from app.speech.call.speed import with_words
from app.transcripts.transcript import ChannelTalk, Segment, Talk, WordUnit


def said(text: str, language: str = "en", channel: int = 0) -> Segment:
    return Segment(0, channel, "agent", 0, 1, text, language)


def talking(*seconds: float) -> Talk:
    return Talk(channels=tuple(ChannelTalk(number, each, None, 0, None) for number, each in enumerate(seconds)))


def test_each_channel_has_its_words_and_its_speed() -> None:
    segments = [said("Good morning, it's me."), said("Yes – of course", channel=1), said("Thank you.")]

    agent, customer = with_words(talking(12, 4.9), segments).channels

    assert (agent.words, agent.word_unit, agent.words_per_minute) == (6, "word", 30)
    assert (customer.words, customer.word_unit, customer.words_per_minute) == (3, "word", None)


def test_a_channel_without_words_has_no_speed() -> None:
    (channel,) = with_words(talking(60), []).channels

    assert (channel.words, channel.word_unit, channel.words_per_minute) == (0, None, None)


@pytest.mark.parametrize(
    ("text", "language", "count", "unit"),
    [
        ("你好，世界！", "zh", 4, "character"),
        ("我用 iPhone 打电话。", "zh", 6, "character"),
        ("もしもし", "ja", 4, "character"),
        ("ยินดี", "th", 3, "character"),  # its vowels above the letters do not count
        ("OK, thank you", "zh", 3, "word"),
        ("안녕하세요 여러분", "ko", 2, "word"),
        ("l'état - c'est moi", "fr", 3, "word"),
        ("…", "en", 0, None),
    ],
)
def test_languages_without_spaces_are_counted_by_characters(
    text: str, language: str, count: int, unit: WordUnit | None
) -> None:
    (channel,) = with_words(talking(10), [said(text, language)]).channels

    assert (channel.words, channel.word_unit) == (count, unit)


def test_the_unit_is_that_of_most_words() -> None:
    (channel,) = with_words(talking(10), [said("你好，世界！", "zh"), said("OK, bye")]).channels

    assert (channel.words, channel.word_unit) == (6, "character")
