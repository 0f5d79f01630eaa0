from dataclasses import replace

import pytest

from app.speech.call import bleed
from app.speech.call.bleed import Bleed
from app.speech.call.channel_words import ChannelWords, Likeness, Loudness
from app.speech.call.segments import Heard
from app.speech.model import Scores
from app.transcripts.transcript import Span, Word

SCORES = Scores(0.0, -0.3, 1.0, 0.02)


def heard(channel: int, text: str, start: float, pace: float = 0.4) -> Heard:
    words = (
        Word(start + pace * at, start + pace * (at + 1), f" {word}", 0.9) for at, word in enumerate(text.split(" "))
    )
    return Heard(channel, "en", SCORES, tuple(words))


def without_bleed(
    both: list[Heard], loudness: Loudness, likeness: Likeness = lambda *_: 0.0
) -> tuple[list[Heard], list[Bleed]]:
    return bleed.without_bleed(both, ChannelWords(both, loudness, likeness))


def agent_is_louder(channel: int, start: float, end: float) -> float:
    """The agent is 12 dB louder in the first four seconds, and the customer after that."""
    return 0.4 if (channel == 0) == (start < 4) else 0.1


def alike(channel: int, start: float, end: float) -> float:
    return 0.3


def texts(kept: list[Heard]) -> list[tuple[int, str]]:
    return [(each.channel, "".join(word.word for word in each.words).strip()) for each in kept]


AGENT = heard(0, "Thank you for calling, how can I help?", 0)


def test_the_same_words_at_the_same_time_are_removed_from_the_fainter_channel() -> None:
    kept, gone = without_bleed([AGENT, heard(1, "Thank you for calling. How can I help?", 0.1)], agent_is_louder)

    assert texts(kept) == [(0, "Thank you for calling, how can I help?")]
    assert gone == [Bleed(1, 8, (Span(0.1, 0.1 + 0.4 * 4), Span(0.1 + 0.4 * 4, 0.1 + 0.4 * 8)))]


def test_slightly_different_words_are_removed_too() -> None:
    kept, _ = without_bleed([AGENT, heard(1, "Thanks you for falling how can I held", 0)], agent_is_louder)

    assert texts(kept) == [(0, "Thank you for calling, how can I help?")]


def test_the_fainter_speakers_own_words_stay() -> None:
    both = [AGENT, heard(1, "Yes, hello, my table is broken", 0.2)]

    assert without_bleed(both, agent_is_louder) == (both, [])


def test_words_that_both_speakers_say_equally_loud_stay() -> None:
    both = [AGENT, heard(1, "Thank you for calling, how can I help?", 0)]

    assert without_bleed(both, alike) == (both, [])


def test_the_same_words_at_another_time_stay() -> None:
    both = [AGENT, heard(1, "Thank you for calling, how can I help?", 20)]

    assert without_bleed(both, lambda channel, start, end: 0.1 if channel else 0.9) == (both, [])


def test_own_words_after_bleed_stay() -> None:
    agent = heard(0, "and that is all of it so", 0.8)
    kept, [gone] = without_bleed(
        [agent, heard(1, "and that is all of it so yes that is fine with me", 0.8)], agent_is_louder
    )

    assert texts(kept) == [(0, "and that is all of it so"), (1, "yes that is fine with me")]
    assert (gone.channel, gone.words) == (1, 8 - 1)


def test_bleed_in_both_directions_is_removed_from_both_channels() -> None:
    customer = heard(1, "My order has not arrived yet, where is it?", 5)
    echoes = [
        heard(1, "Thank you for calling, how can I help?", 0),
        heard(0, "My order has not arrived yet, where is it?", 5),
    ]

    kept, gone = without_bleed([AGENT, *echoes, customer], agent_is_louder)

    assert kept == [AGENT, customer]
    assert [(each.channel, each.words) for each in gone] == [(0, 9), (1, 8)]


def test_one_channel_has_no_bleed() -> None:
    assert without_bleed([AGENT, AGENT], alike) == ([AGENT, AGENT], [])


def headset(channel: int, start: float, end: float) -> float:
    """The agent's channel is always 9.5 dB louder."""
    return 0.1 if channel else 0.3


@pytest.mark.parametrize(
    ("customer", "agent", "delay"),
    [
        ("No.", "You know, the order", 0.0),
        ("No.", "can order another", 0.0),
        ("OK.", "looking at", 0.0),
        ("Yes.", "yesterday", 0.0),
        ("Sí.", "así que", 0.0),
        ("对", "不对劲", 0.0),
        ("对", "对", 0.0),
        ("I know.", "you know it's", 0.0),
        ("Bye bye.", "Bye bye.", 0.3),
        ("Thank you.", "Thank you, goodbye.", 0.2),
        ("Right.", "all right", 0.4),
    ],
)
def test_short_answers_stay_even_if_the_other_speaker_says_similar_words(
    customer: str, agent: str, delay: float
) -> None:
    both = [heard(0, agent, 2.0 - delay), heard(1, customer, 2.0)]

    assert without_bleed(both, headset) == (both, [])


def test_few_words_beside_more_bleed_are_removed_with_it() -> None:
    kept, [gone] = without_bleed(
        [heard(0, "How can I help you today? Hello?", 0), heard(1, "How can I help you today? Hello?", 0)], headset
    )

    assert [each.channel for each in kept] == [0]
    assert gone.words == 7


def test_words_that_both_speakers_say_at_their_usual_levels_stay() -> None:
    goodbye = "Have a nice day and goodbye"
    both = [
        heard(0, "I can send you another one tomorrow", 0),
        heard(1, "That would be really great for us", 5),
        heard(0, goodbye, 10),
        heard(1, goodbye, 10.2),
    ]

    assert without_bleed(both, headset) == (both, [])


def test_bleed_is_found_even_if_the_speakers_are_not_equally_loud() -> None:
    def with_echo(channel: int, start: float, end: float) -> float:
        return headset(channel, start, end) if channel == 0 or 5 <= start < 9 else 0.02

    said = "I can send you another one tomorrow"
    kept, [gone] = without_bleed(
        [heard(0, said, 0), heard(1, "That would be really great for us", 5), heard(1, said, 0.1)], with_echo
    )

    assert [each.channel for each in kept] == [0, 1]
    assert (gone.channel, gone.words) == (1, 7)


def test_the_same_words_in_another_order_are_not_bleed() -> None:
    both = [AGENT, heard(1, "help I can how, calling for you", 0.0)]

    assert without_bleed(both, headset) == (both, [])


def until(seconds: float) -> Likeness:
    """The customer's channel has the same sound as the agent's until `seconds`."""
    return lambda channel, other, start, end: 0.9 if (channel, other) == (1, 0) and end <= seconds else 0.1


def test_the_same_sound_is_removed_even_if_other_words_were_recognized_in_it() -> None:
    kept, gone = without_bleed([AGENT, heard(1, "Cow can my elbow", 2)], agent_is_louder, until(4))

    assert texts(kept) == [(0, "Thank you for calling, how can I help?")]
    assert [(each.channel, each.words) for each in gone] == [(1, 4)]


def test_only_the_words_with_the_same_sound_are_removed() -> None:
    kept, _ = without_bleed([AGENT, heard(1, "Now can I but no wait", 2)], agent_is_louder, until(3.2))

    assert texts(kept) == [(0, "Thank you for calling, how can I help?"), (1, "but no wait")]


def test_words_recognized_only_in_the_bleed_move_to_their_speaker() -> None:
    both = [heard(0, "Thank you", 0), heard(1, "for calling, how can I help?", 1.6)]

    kept, gone = without_bleed(both, agent_is_louder, until(4))

    assert texts(kept) == [(0, "Thank you"), (0, "for calling, how can I help?")]
    assert [(each.channel, each.words) for each in gone] == [(1, 6)]


def test_the_same_sound_on_the_louder_channel_stays() -> None:
    both = [AGENT, heard(1, "Yes, hello, my table is broken", 0.2)]

    assert without_bleed(both, alike, until(4)) == (both, [])


def test_a_wrong_word_between_copied_ones_is_removed_with_them() -> None:
    def telephone(channel: int, other: int, start: float, end: float) -> float:
        return 0.5 if start == pytest.approx(2.4) else 0.9

    kept, _ = without_bleed([AGENT, heard(1, "Cow older my elbow", 2)], agent_is_louder, telephone)

    assert texts(kept) == [(0, "Thank you for calling, how can I help?")]


def test_the_loudest_of_three_channels_gets_the_words_once() -> None:
    def loudness(channel: int, start: float, end: float) -> float:
        return (0.8, 0.2, 0.05)[channel]

    said = "please call me back"
    both = [heard(0, "Hello there", 0), *(heard(channel, said, 2) for channel in (1, 2))]

    kept, _ = without_bleed(both, loudness, lambda *_: 0.9)

    assert texts(kept) == [(0, "Hello there"), (0, said)]


def test_words_move_to_their_speaker_and_not_to_another_echo() -> None:
    def loudness(channel: int, start: float, end: float) -> float:
        return (0.2, 0.8, 0.05)[channel]

    both = [heard(0, "Hello", 9), heard(1, "please call me back", 2), heard(2, "lease all knee back", 2)]

    kept, _ = without_bleed(both, loudness, lambda channel, other, start, end: 0.9 if start < 5 else 0.0)

    assert texts(kept) == [(0, "Hello"), (1, "please call me back")]


def test_doubtful_words_do_not_move_if_their_speaker_has_them() -> None:
    """The speaker's own channel lacks the first words and has "Yes okay." a little late."""
    agent = [*heard(0, "Yes okay.", 1.75).words, *heard(0, "Goodbye everyone.", 10).words]
    echoes = [*heard(1, "I understand that.", 0, 0.33).words, *heard(1, "Yes okay.", 1.5).words]
    both = [replace(AGENT, words=tuple(agent)), heard(1, "Thanks", 20), replace(AGENT, channel=1, words=tuple(echoes))]

    kept, _ = without_bleed(
        both,
        lambda channel, start, end: 0.2 if (channel == 0) == (start < 15) else 0.02,
        lambda channel, other, start, end: 0.95 if start < 1.2 else 0.55,
    )

    assert sorted(texts(kept)) == [(0, "I understand that."), (0, "Yes okay. Goodbye everyone."), (1, "Thanks")]
