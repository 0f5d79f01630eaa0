from collections.abc import Sequence
from dataclasses import replace

import pytest

from app.audio.pcm import SAMPLE_RATE
from app.speech.windows.cutting import Piece, Window
from app.speech.windows.missed_speech import find_missed
from app.transcripts.transcript import Word


def window(*pieces: tuple[float, float]) -> Window:
    """A window with speech between these times in seconds. The window pads the speech."""
    return Window(
        tuple(Piece(round((start - 0.4) * SAMPLE_RATE), round((end + 0.4) * SAMPLE_RATE)) for start, end in pieces)
    )


def words(*times: tuple[float, float]) -> list[Word]:
    return [Word(start, end, " word", 0.9) for start, end in times]


def spoken(start: float, end: float) -> list[Word]:
    """A word each half second."""
    return words(*((at / 10, at / 10 + 0.5) for at in range(round(start * 10), round(end * 10), 5)))


def missed(window: Window, words: Sequence[Word]) -> tuple[Window, ...]:
    return find_missed(window, words)[1]


def corrected(window: Window, words: Sequence[Word]) -> tuple[Word, ...]:
    return find_missed(window, words)[0]


def bounds(windows: tuple[Window, ...]) -> list[tuple[float, float]]:
    return [(round(window.start, 1), round(window.end, 1)) for window in windows]


TURN = window((10, 20), (30, 34))


def test_no_speech_is_missed_if_each_moment_has_its_word() -> None:
    assert missed(TURN, [*spoken(10, 20), *spoken(30, 34)]) == ()


def test_speech_after_the_last_word_is_missed() -> None:
    assert bounds(missed(TURN, spoken(10, 15))) == [(15, 34.4)]


def test_speech_before_the_first_word_is_missed() -> None:
    assert bounds(missed(TURN, [*spoken(17, 20), *spoken(30, 34)])) == [(9.6, 17)]


def test_speech_between_two_words_is_missed_piece_by_piece() -> None:
    [part] = missed(TURN, [*spoken(10, 18), *spoken(31, 34)])

    assert bounds((part,)) == [(18, 31)]
    assert [round(piece.samples / SAMPLE_RATE, 1) for piece in part.pieces] == [2.4, 1.4]


def test_a_word_that_lasts_too_long_hides_no_missed_speech() -> None:
    stretched = words((14, 20))

    assert bounds(missed(TURN, [*spoken(10, 14), *stretched, *spoken(30, 34)])) == [(14, 19.2)]


def test_a_number_may_last_as_long_as_a_person_says_its_figures() -> None:
    paid, price = spoken(10, 16), Word(16, 16.4, " $149.", 0.9)
    assert missed(TURN, [*paid, price, *spoken(18, 20), *spoken(30, 34)]) == ()
    assert bounds(missed(TURN, [*paid, replace(price, word=" lots."), *spoken(18, 20), *spoken(30, 34)])) == [
        (16.4, 18)
    ]


def test_speech_long_after_a_number_is_missed_too() -> None:
    number = Word(10, 10.5, " 47291.", 0.9)
    assert bounds(missed(TURN, [number, *said("And that is all.", 17, 20), *spoken(30, 34)])) == [(10.5, 17)]


def test_pauses_and_hesitations_are_not_missed_speech() -> None:
    assert missed(TURN, [*spoken(10.6, 14), *spoken(15.2, 19), *spoken(30.5, 33)]) == ()


def test_a_window_without_words_has_no_missed_speech() -> None:
    assert missed(TURN, []) == ()


def test_almost_all_of_a_window_with_one_short_word_is_missed() -> None:
    assert bounds(missed(TURN, words((9.6, 9.7)))) == [(9.7, 34.4)]


def test_a_stretched_word_moves_behind_the_missed_speech() -> None:
    yes, stretched = Word(10, 10.5, " Yes.", 0.9), Word(14, 20, " Please.", 0.9)
    assert corrected(TURN, [yes, stretched]) == (yes, replace(stretched, start=19.2))


def said(text: str, start: float, end: float) -> list[Word]:
    """Words that share the time from `start` to `end`."""
    parts = text.split()
    pace = (end - start) / len(parts)
    return [Word(start + at * pace, start + (at + 1) * pace, f" {part}", 0.9) for at, part in enumerate(parts)]


THANKS, DIALED = said("Thank you for your patience.", 10, 13), said("have dialed is not in service.", 30.5, 34)


def test_the_first_words_of_a_sentence_move_behind_the_missed_speech() -> None:
    separated = [*THANKS, *said("The number", 13, 14), Word(16, 16.5, " you", 0.9), *DIALED]

    assert bounds(missed(TURN, separated)) == [(13, 20.4)]
    together = corrected(TURN, separated)
    assert [word.word for word in together] == [word.word for word in separated]
    assert [round(word.start, 1) for word in together[5:9]] == [29.6, 29.9, 30.2, 30.5]


def test_moved_words_stay_in_the_piece_of_their_sentence() -> None:
    separated = [*THANKS, *said("The", 13, 13.5), *said("number you have dialed is not in service.", 29.8, 34)]
    assert corrected(TURN, separated)[5] == Word(29.6, 29.8, " The", 0.9)


def test_words_that_are_together_do_not_move() -> None:
    whole = [*THANKS, *said("The number you have dialed", 13, 16), *said("is not in service.", 31, 34)]
    assert corrected(TURN, whole) == tuple(whole)
    two = [*THANKS, *said("Hold on.", 13, 14), *said("We are here.", 30.5, 32.5)]
    assert corrected(TURN, two) == tuple(two)


def test_the_first_words_of_a_window_move_to_their_sentence_too() -> None:
    separated = [*said("The number", 9.7, 10.5), *said("you have dialed is not in service.", 18, 20), *spoken(30, 34)]
    found, missed_windows = find_missed(TURN, separated)
    assert [round(word.start, 1) for word in found[:3]] == [17.4, 17.7, 18]
    assert bounds(missed_windows) == [(9.6, 17.4)]


def test_the_last_word_of_a_piece_does_not_count_for_the_next_piece() -> None:
    turn = Window((Piece(160000, 260000), Piece(300000, 320003), Piece(320003, 400000)))
    separated = [
        *said("The number you", 10, 11),
        Word(19, 20.01, " have", 0.9),
        *said("dialed is not in service.", 20.2, 24.5),
    ]
    assert [round(word.start, 2) for word in corrected(turn, separated)[:4]] == [18.75, 18.9, 19.06, 19.21]


def test_a_title_does_not_end_a_sentence() -> None:
    seen = [*said("Yes. I saw Dr. Miller", 10, 13), *said("and he told me.", 17, 20), *spoken(30, 34)]
    found, missed_windows = find_missed(TURN, seen)
    assert found[:5] == tuple(seen[:5])
    assert bounds(missed_windows) == [(13, 17)]


def test_words_do_not_move_if_they_would_fill_the_missed_speech() -> None:
    squeezed = [*said("Thank you.", 10, 11), *said("The number you", 11, 11.18)]
    found, missed_windows = find_missed(
        TURN, [*squeezed, *said("have dialed is not in service.", 12.8, 15), *spoken(15, 20), *spoken(30, 34)]
    )
    assert found[:5] == tuple(squeezed)
    assert bounds(missed_windows) == [(11.2, 12.8)]


@pytest.mark.parametrize("start", [29.6, 29.61, 29.7])
def test_moved_words_have_a_length_and_are_inside_the_speech(start: float) -> None:
    turn = Window((TURN.pieces[0], Piece(round(29.604 * SAMPLE_RATE), round(34.4 * SAMPLE_RATE))))
    separated = [
        *THANKS,
        *said("The number", 13, 13.5),
        Word(start, 30.2, " you", 0.9),
        *said("have dialed.", 30.2, 34),
    ]
    found, _ = find_missed(turn, separated)
    the, number, you = found[5:8]
    assert the.start >= turn.pieces[1].start / SAMPLE_RATE
    assert min(word.end - word.start for word in (the, number, you)) > 0.059
    assert the.end <= number.start + 1e-9
    assert number.end <= you.start + 1e-9
