from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.audio.pcm import SAMPLE_RATE
from app.speech.windows.cutting import Piece, Window
from app.speech.windows.word_times import spread, to_recording_times
from app.transcripts.transcript import Word

WINDOW = Window((Piece(10 * SAMPLE_RATE, 12 * SAMPLE_RATE), Piece(20 * SAMPLE_RATE, 25 * SAMPLE_RATE)))


def timed(*words: tuple[str, float, float]) -> list[Word]:
    return [Word(start, end, text, 0.9) for text, start, end in words]


def times(words: tuple[Word, ...]) -> list[tuple[float, float]]:
    return [(word.start, word.end) for word in words]


def test_words_are_placed_in_the_recording() -> None:
    words = timed((" Good", 0.5, 0.8), (" morning.", 0.8, 1.2), (" Yes?", 3.0, 3.4))

    assert times(to_recording_times(words, WINDOW, 30.0)) == [(10.5, 10.8), (10.8, 11.2), (21.0, 21.4)]


def test_a_word_stretched_over_a_pause_between_sentences_is_tightened() -> None:
    words = timed((" It", 2.5, 2.7), (" is.", 2.7, 2.9), (" Then", 2.9, 5.5), (" we", 5.5, 5.7), (" left.", 5.7, 5.9))

    assert to_recording_times(words, WINDOW, 30.0)[2].start == pytest.approx(23.1)


def test_words_squeezed_at_the_end_of_speech_keep_some_length() -> None:
    placed = to_recording_times(timed((" so", 6.0, 6.5), (" long", 6.5, 7.0), (" then.", 7.0, 7.0)), WINDOW, 30.0)

    assert all(word.end > word.start for word in placed)
    assert placed[-1].end == 25.0


@given(st.lists(st.floats(0, 7), min_size=2, max_size=40), st.floats(21, 30))
def test_words_are_in_order_and_inside_the_window_for_all_times_that_the_model_gives(
    edges: list[float], duration: float
) -> None:
    ordered = sorted(edges)
    words = timed(*((" word", start, end) for start, end in pairwise(ordered)))

    placed = to_recording_times(words, WINDOW, duration)

    flat = [time for pair in times(placed) for time in pair]
    assert flat == sorted(flat)
    assert flat[0] >= 10
    assert flat[-1] <= duration


def test_the_words_of_a_phrase_share_its_time_by_their_letters() -> None:
    words = spread(timed((" We see.", 2.0, 4.0), ("是的", 5.0, 6.0)))

    assert [word.word for word in words] == [" We", " see.", "是的"]
    assert times(words) == [(2.0, 2.75), (2.75, 4.0), (5.0, 6.0)]


def test_words_without_an_alignment_keep_the_time_of_their_phrase() -> None:
    window = Window((Piece(0, 18 * SAMPLE_RATE),))
    [word] = to_recording_times(spread(timed((" Hello.", 0.0, 18.0))), window, 18.0, aligned=False)

    assert (word.start, word.end) == (0.0, 18.0)
