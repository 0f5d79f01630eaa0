from collections.abc import Sequence
from dataclasses import replace

import pytest

from app.audio.pcm import SAMPLE_RATE
from app.speech.windows.cutting import Piece, Window
from app.speech.windows.missed_speech import find_missed
from app.transcripts.transcript import Word


def window(*pieces: tuple[float, float]) -> Window:
    """Speech between times in seconds, which the window pads."""
    return Window(
        tuple(Piece(round((start - 0.4) * SAMPLE_RATE), round((end + 0.4) * SAMPLE_RATE)) for start, end in pieces)
    )


def words(*times: tuple[float, float]) -> list[Word]:
    return [Word(start, end, " word", 0.9) for start, end in times]


def spoken(start: float, end: float) -> list[Word]:
    """A word each half second."""
    return words(*((at / 10, at / 10 + 0.5) for at in range(round(start * 10), round(end * 10), 5)))


def left(window: Window, words: Sequence[Word]) -> tuple[Window, ...]:
    return find_missed(window, words)[1]


def beside(window: Window, words: Sequence[Word]) -> tuple[Word, ...]:
    return find_missed(window, words)[0]


def bounds(windows: tuple[Window, ...]) -> list[tuple[float, float]]:
    return [(round(window.start, 1), round(window.end, 1)) for window in windows]


TURN = window((10, 20), (30, 34))


def test_nothing_is_left_where_each_moment_has_its_word() -> None:
    assert left(TURN, [*spoken(10, 20), *spoken(30, 34)]) == ()


def test_what_comes_after_the_last_word_is_left() -> None:
    assert bounds(left(TURN, spoken(10, 15))) == [(15, 34.4)]


def test_what_comes_before_the_first_word_is_left() -> None:
    assert bounds(left(TURN, [*spoken(17, 20), *spoken(30, 34)])) == [(9.6, 17)]


def test_what_lies_between_two_words_is_left_piece_by_piece() -> None:
    [rest] = left(TURN, [*spoken(10, 18), *spoken(31, 34)])

    assert bounds((rest,)) == [(18, 31)]
    assert [round(piece.samples / SAMPLE_RATE, 1) for piece in rest.pieces] == [2.4, 1.4]


def test_a_word_that_lasts_too_long_hides_nothing() -> None:
    stretched = words((14, 20))

    assert bounds(left(TURN, [*spoken(10, 14), *stretched, *spoken(30, 34)])) == [(14, 19.2)]


def test_a_number_lasts_as_long_as_its_figures_are_said() -> None:
    paid, price = spoken(10, 16), Word(16, 16.4, " $149.", 0.9)
    assert left(TURN, [*paid, price, *spoken(18, 20), *spoken(30, 34)]) == ()
    assert bounds(left(TURN, [*paid, replace(price, word=" lots."), *spoken(18, 20), *spoken(30, 34)])) == [(16.4, 18)]


def test_what_comes_long_after_a_number_is_left_all_the_same() -> None:
    number = Word(10, 10.5, " 47291.", 0.9)
    assert bounds(left(TURN, [number, *said("And that is all.", 17, 20), *spoken(30, 34)])) == [(10.5, 17)]


def test_pauses_and_hesitations_are_no_loss() -> None:
    assert left(TURN, [*spoken(10.6, 14), *spoken(15.2, 19), *spoken(30.5, 33)]) == ()


def test_a_window_without_words_leaves_nothing() -> None:
    assert left(TURN, []) == ()


def test_a_window_with_one_short_word_is_left_almost_whole() -> None:
    assert bounds(left(TURN, words((9.6, 9.7)))) == [(9.7, 34.4)]


def test_a_stretched_word_stands_after_what_was_passed_over() -> None:
    yes, stretched = Word(10, 10.5, " Yes.", 0.9), Word(14, 20, " Please.", 0.9)
    assert beside(TURN, [yes, stretched]) == (yes, replace(stretched, start=19.2))


def said(text: str, start: float, end: float) -> list[Word]:
    """Words that share the time between two."""
    parts = text.split()
    pace = (end - start) / len(parts)
    return [Word(start + at * pace, start + (at + 1) * pace, f" {part}", 0.9) for at, part in enumerate(parts)]


THANKS, DIALED = said("Thank you for your patience.", 10, 13), said("have dialed is not in service.", 30.5, 34)


def test_the_first_words_of_a_sentence_stand_with_the_others_and_not_before_what_was_passed_over() -> None:
    torn = [*THANKS, *said("The number", 13, 14), Word(16, 16.5, " you", 0.9), *DIALED]

    assert bounds(left(TURN, torn)) == [(13, 20.4)]
    together = beside(TURN, torn)
    assert [word.word for word in together] == [word.word for word in torn]
    assert [round(word.start, 1) for word in together[5:9]] == [29.6, 29.9, 30.2, 30.5]


def test_words_put_back_stay_in_the_piece_of_their_sentence() -> None:
    torn = [*THANKS, *said("The", 13, 13.5), *said("number you have dialed is not in service.", 29.8, 34)]
    assert beside(TURN, torn)[5] == Word(29.6, 29.8, " The", 0.9)


def test_words_that_stand_together_stay_where_they_are() -> None:
    whole = [*THANKS, *said("The number you have dialed", 13, 16), *said("is not in service.", 31, 34)]
    assert beside(TURN, whole) == tuple(whole)
    two = [*THANKS, *said("Hold on.", 13, 14), *said("We are here.", 30.5, 32.5)]
    assert beside(TURN, two) == tuple(two)


def test_the_first_words_of_a_window_stand_with_their_sentence_too() -> None:
    torn = [*said("The number", 9.7, 10.5), *said("you have dialed is not in service.", 18, 20), *spoken(30, 34)]
    found, rests = find_missed(TURN, torn)
    assert [round(word.start, 1) for word in found[:3]] == [17.4, 17.7, 18]
    assert bounds(rests) == [(9.6, 17.4)]


def test_a_word_that_ends_its_piece_is_not_taken_for_one_of_the_next() -> None:
    turn = Window((Piece(160000, 260000), Piece(300000, 320003), Piece(320003, 400000)))
    torn = [
        *said("The number you", 10, 11),
        Word(19, 20.01, " have", 0.9),
        *said("dialed is not in service.", 20.2, 24.5),
    ]
    assert [round(word.start, 2) for word in beside(turn, torn)[:4]] == [18.75, 18.9, 19.06, 19.21]


def test_a_title_ends_no_sentence() -> None:
    seen = [*said("Yes. I saw Dr. Miller", 10, 13), *said("and he told me.", 17, 20), *spoken(30, 34)]
    found, rests = find_missed(TURN, seen)
    assert found[:5] == tuple(seen[:5])
    assert bounds(rests) == [(13, 17)]


def test_what_was_passed_over_is_heard_again_though_the_words_put_back_would_fill_it() -> None:
    squeezed = [*said("Thank you.", 10, 11), *said("The number you", 11, 11.18)]
    found, rests = find_missed(
        TURN, [*squeezed, *said("have dialed is not in service.", 12.8, 15), *spoken(15, 20), *spoken(30, 34)]
    )
    assert found[:5] == tuple(squeezed)
    assert bounds(rests) == [(11.2, 12.8)]


@pytest.mark.parametrize("start", [29.6, 29.61, 29.7])
def test_words_put_back_have_a_length_and_a_place_in_the_sound(start: float) -> None:
    turn = Window((TURN.pieces[0], Piece(round(29.604 * SAMPLE_RATE), round(34.4 * SAMPLE_RATE))))
    torn = [*THANKS, *said("The number", 13, 13.5), Word(start, 30.2, " you", 0.9), *said("have dialed.", 30.2, 34)]
    found, _ = find_missed(turn, torn)
    the, number, you = found[5:8]
    assert the.start >= turn.pieces[1].start / SAMPLE_RATE
    assert min(word.end - word.start for word in (the, number, you)) > 0.059
    assert the.end <= number.start + 1e-9
    assert number.end <= you.start + 1e-9
