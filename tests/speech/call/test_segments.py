from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.speech.call.segments import MAX_CHARACTERS, MAX_SECONDS, Heard, cut, segments_of
from app.speech.model import Scores
from app.transcripts.transcript import Word

SCORES = Scores(0.2, -0.3, 1.0, 0.02)


def spoken(text: str, start: float = 0.0, pace: float = 0.4) -> list[Word]:
    """Words that follow each other without a pause."""
    return [
        Word(start + pace * at, start + pace * (at + 1), f" {word}", 0.9) for at, word in enumerate(text.split(" "))
    ]


def texts(parts: list[Sequence[Word]]) -> list[str]:
    return ["".join(word.word for word in part).strip() for part in parts]


def heard(channel: int, words: list[Word]) -> Heard:
    return Heard(channel, "en", SCORES, tuple(words))


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("Hello there. How are you? Fine!", ["Hello there.", "How are you?", "Fine!"]),
        ("I am Dr. Miller. Good morning.", ["I am Dr. Miller.", "Good morning."]),
        ("Come at 8 a.m. or at 9 a.m. please.", ["Come at 8 a.m. or at 9 a.m. please."]),
        ("Well... maybe. She said “no.” Then she left.", ["Well... maybe.", "She said “no.”", "Then she left."]),
        ("नमस्ते। आप कैसे हैं?", ["नमस्ते।", "आप कैसे हैं?"]),
        ("no end", ["no end"]),
    ],
)
def test_a_segment_is_a_sentence(text: str, sentences: list[str]) -> None:
    assert texts(cut(spoken(text))) == sentences


def test_a_pause_ends_a_segment() -> None:
    assert texts(cut([*spoken("and then"), *spoken("we left", start=2)])) == ["and then", "we left"]


def test_sentences_end_in_languages_without_spaces_too() -> None:
    words = [Word(at, at + 0.5, character, 0.9) for at, character in enumerate(("你", "好。", "世", "界！"))]

    assert texts(cut(words)) == ["你好。", "世界！"]


@pytest.mark.parametrize(
    ("words", "sentences"),
    [
        (["「", "はい", "。」", "そう", "です。"], ["「はい。」", "そうです。"]),
        (["『", "本当？", "』", "次", "です。"], ["『本当？』", "次です。"]),
        (["（", "谢谢！", "）", "再见。"], ["（谢谢！）", "再见。"]),
        ([" «", " Oui.", " »", " Merci.", " «", " Non", " !", " »"], ["« Oui. »", "Merci.", "« Non ! »"]),
        ([" „Ja.“", " Gut."], ["„Ja.“", "Gut."]),
        ([" शुक्रिया।", " अलविदा।"], ["शुक्रिया।", "अलविदा।"]),
        ([" شكرا؟", " نعم،", " حسنا."], ["شكرا؟", "نعم، حسنا."]),
        ([" شکریہ۔", " جی", " ہاں۔"], ["شکریہ۔", "جی ہاں۔"]),
        ([" ¿Qué", " tal?", " «Bien.»", " Vale."], ["¿Qué tal?", "«Bien.»", "Vale."]),
        (["ขอบคุณ", "ครับ", " สวัสดี"], ["ขอบคุณครับ สวัสดี"]),
    ],
)
def test_a_sentence_ends_after_the_closing_marks_that_follow_it(words: list[str], sentences: list[str]) -> None:
    """The words are cut as Whisper's tokenizer cuts them."""
    timed = [Word(at / 2, (at + 1) / 2, word, 0.9) for at, word in enumerate(words)]

    assert texts(cut(timed)) == sentences


def test_a_long_sentence_is_cut_at_a_comma() -> None:
    first, second = texts(cut(spoken("word " * 9 + "first, " + "word " * 9 + "last")))

    assert first.endswith("first,")
    assert second.endswith("last")


def test_a_long_sentence_without_commas_is_cut_at_its_longest_break() -> None:
    before = spoken("word " * 9 + "before")

    first, second = texts(cut([*before, *spoken("after" + " word" * 8, start=before[-1].end + 0.5)]))

    assert (first.split()[-1], second.split()[0]) == ("before", "after")


@given(st.lists(st.tuples(st.floats(0, 3), st.floats(0, 2), st.sampled_from([" a", " no.", " yes,", "字", " longer"]))))
def test_no_word_is_lost_and_no_segment_is_long(parts: list[tuple[float, float, str]]) -> None:
    words, now = [], 0.0
    for pause, length, text in parts:
        words.append(Word(now + pause, now + pause + length, text, 0.9))
        now += pause + length

    found = cut(words)

    assert [word for part in found for word in part] == words
    for part in found:
        assert part[-1].end - part[0].start <= MAX_SECONDS
        assert sum(len(word.word) for word in part) <= MAX_CHARACTERS


def test_segments_of_all_channels_are_in_the_order_of_their_start() -> None:
    agent = heard(0, [*spoken("Hello."), *spoken("Bye.", start=9)])
    customer = heard(1, spoken("Hi.", start=4))

    segments = segments_of([customer, agent], {0: "agent", 1: "customer"}, with_words=False)

    assert [(segment.id, segment.speaker, segment.text) for segment in segments] == [
        (0, "agent", "Hello."),
        (1, "customer", "Hi."),
        (2, "agent", "Bye."),
    ]


def test_a_segment_has_the_scores_of_its_window() -> None:
    [segment] = segments_of([heard(0, spoken("Good morning.", start=3))], {0: "agent"}, with_words=True)

    assert (segment.start, segment.end) == (3, 3.8)
    assert (segment.temperature, segment.avg_logprob, segment.no_speech_prob) == (0.2, -0.3, 0.02)
    assert segment.words
    assert [word.word for word in segment.words] == [" Good", " morning."]
