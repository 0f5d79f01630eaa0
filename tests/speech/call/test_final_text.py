from collections.abc import Sequence
from math import inf

from app.audio.pcm import SAMPLE_RATE
from app.speech.call.final_text import COMPARED_SECONDS, ROUNDING_SECONDS, FinalTextFinder, Frontier
from app.speech.call.segments import Heard
from app.speech.windows.cutting import Piece, Window
from tests.speech.call.test_segments import heard, spoken

AGENT, CUSTOMER = range(2)


def window(start: float, end: float) -> Window:
    return Window((Piece(round(start * SAMPLE_RATE), round(end * SAMPLE_RATE)),))


class Moves:
    """Counts how often a frontier moves."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


def frontier(*channels: int) -> tuple[Frontier, Moves]:
    moves = Moves()
    return Frontier(channels or (AGENT,), moves), moves


def at(seconds: float) -> float:
    return seconds - ROUNDING_SECONDS


def test_the_frontier_waits_for_the_earliest_window_that_is_not_settled() -> None:
    front, moves = frontier()
    front.found([window(1, 5), window(6, 9), window(10, 15)])
    front.unread_from(AGENT, 20)
    assert front.time == at(1)
    front.settled(window(6, 9), [])
    assert front.time == at(1)
    front.settled(window(1, 5), [])
    assert front.time == at(10)
    front.settled(window(10, 15), [])
    assert front.time == at(20)
    assert moves.count == 3


def test_the_frontier_waits_for_speech_that_was_missed() -> None:
    front, _ = frontier()
    front.found([window(1, 9)])
    front.unread_from(AGENT, inf)
    front.settled(window(1, 9), [window(3, 4), window(6, 7)])
    assert front.time == at(3)
    front.settled(window(3, 4), [])
    assert front.time == at(6)
    front.settled(window(6, 7), [])
    assert front.time == inf


def test_the_frontier_waits_for_the_channel_that_is_read_least() -> None:
    front, _ = frontier(AGENT, CUSTOMER)
    front.unread_from(AGENT, 40)
    assert front.time == 0.0
    front.unread_from(CUSTOMER, 20)
    assert front.time == at(20)
    front.unread_from(CUSTOMER, inf)
    assert front.time == at(40)


def test_windows_of_two_channels_that_begin_together_are_both_waited_for() -> None:
    front, _ = frontier(AGENT, CUSTOMER)
    front.found([window(1, 5), window(1, 3)])
    for channel in (AGENT, CUSTOMER):
        front.unread_from(channel, inf)
    front.settled(window(1, 5), [])
    assert front.time == at(1)
    assert front.is_held_by(window(1, 3))
    assert not front.is_held_by(window(1.1, 3))
    front.settled(window(1, 3), [])
    assert front.time == inf


def test_segments_before_the_frontier_are_given_once_in_their_order() -> None:
    finder = FinalTextFinder({AGENT: "agent"})
    later, earlier = heard(AGENT, spoken("Good bye.", start=9)), heard(AGENT, spoken("Hello. How are you?", start=2))

    assert finder.take([later], 1.9) is None
    first = finder.take([earlier], 8.9)
    assert first is not None
    assert [(each.id, each.speaker, each.text) for each in first.segments] == [
        (0, "agent", "Hello."),
        (1, "agent", "How are you?"),
    ]
    assert first.until == 8.9
    assert finder.take([], 8.9) is None
    last = finder.take([], inf)
    assert last is not None
    assert [(each.id, each.text) for each in last.segments] == [(2, "Good bye.")]


def test_text_of_several_channels_waits_until_the_words_around_it_are_known_on_all() -> None:
    given: list[Sequence[Heard]] = []

    def without_bleed(windows: Sequence[Heard]) -> Sequence[Heard]:
        given.append(tuple(windows))
        return [window for window in windows if window.channel == AGENT]

    finder = FinalTextFinder({AGENT: "agent", CUSTOMER: "customer"}, without_bleed)
    agent, echo = heard(AGENT, spoken("Hello there.", start=2)), heard(CUSTOMER, spoken("Hello there.", start=2.1))

    assert finder.take([agent], 2.5) is None
    text = finder.take([echo], 3.0 + COMPARED_SECONDS)
    assert text is not None
    assert [(each.speaker, each.text) for each in text.segments] == [("agent", "Hello there.")]
    assert given[-1] == (agent, echo)


def test_only_the_windows_of_the_last_minute_are_searched_for_bleed() -> None:
    searched: list[int] = []

    def without_bleed(windows: Sequence[Heard]) -> Sequence[Heard]:
        searched.append(len(windows))
        return windows

    finder = FinalTextFinder({AGENT: "agent", CUSTOMER: "customer"}, without_bleed)
    for minute in range(60):
        windows = [heard(channel, spoken("Well.", start=60 * minute + 30 * channel)) for channel in (AGENT, CUSTOMER)]
        text = finder.take(windows, 60 * minute + 60)
        assert text is not None
        assert len(text.segments) == 2
    assert max(searched) <= 6


def test_a_sentence_that_is_cut_at_other_words_later_is_given_neither_twice_nor_in_part() -> None:
    """Its end turns out to be bleed after its beginning was given, so the whole is shorter and is not cut any more."""
    words = spoken("one two three four five six seven eight nine ten eleven twelve", start=0, pace=1.0)
    known: list[int] = [12]

    def without_bleed(windows: Sequence[Heard]) -> Sequence[Heard]:
        return [heard(AGENT, words[: known[0]])]

    finder = FinalTextFinder({AGENT: "agent", CUSTOMER: "customer"}, without_bleed)
    first = finder.take([heard(AGENT, words)], 6.5 + COMPARED_SECONDS)
    known[0] = 7
    second = finder.take([], inf)
    assert first is not None
    assert second is not None
    said = " ".join(segment.text for segment in (*first.segments, *second.segments))
    assert said == "one two three four five six seven"
