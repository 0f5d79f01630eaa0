from dataclasses import replace

from app.audio.pcm import SAMPLE_RATE
from app.speech.coverage import passed_over, unstretched
from app.speech.transcript import Word
from app.speech.windows import Piece, Window


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


def bounds(windows: tuple[Window, ...]) -> list[tuple[float, float]]:
    return [(round(window.start, 1), round(window.end, 1)) for window in windows]


TURN = window((10, 20), (30, 34))


def test_nothing_is_left_where_each_moment_has_its_word() -> None:
    assert passed_over(TURN, [*spoken(10, 20), *spoken(30, 34)]) == ()


def test_what_comes_after_the_last_word_is_left() -> None:
    assert bounds(passed_over(TURN, spoken(10, 15))) == [(15, 34.4)]


def test_what_comes_before_the_first_word_is_left() -> None:
    assert bounds(passed_over(TURN, [*spoken(17, 20), *spoken(30, 34)])) == [(9.6, 17)]


def test_what_lies_between_two_words_is_left_piece_by_piece() -> None:
    [left] = passed_over(TURN, [*spoken(10, 18), *spoken(31, 34)])

    assert bounds((left,)) == [(18, 31)]
    assert [round(piece.samples / SAMPLE_RATE, 1) for piece in left.pieces] == [2.4, 1.4]


def test_a_word_that_lasts_too_long_hides_nothing() -> None:
    stretched = words((14, 20))

    assert bounds(passed_over(TURN, [*spoken(10, 14), *stretched, *spoken(30, 34)])) == [(14, 19.2)]


def test_a_number_lasts_as_long_as_its_figures_are_said() -> None:
    paid, price = spoken(10, 16), Word(16, 16.4, " $149.", 0.9)
    assert passed_over(TURN, [*paid, price, *spoken(18, 20), *spoken(30, 34)]) == ()
    assert bounds(passed_over(TURN, [*paid, replace(price, word=" lots."), *spoken(18, 20), *spoken(30, 34)])) == [
        (16.4, 18)
    ]


def test_what_comes_long_after_a_number_is_left_all_the_same() -> None:
    number = Word(10, 10.5, " 47291.", 0.9)
    assert bounds(passed_over(TURN, [number, *spoken(17, 20), *spoken(30, 34)])) == [(10.5, 17)]


def test_pauses_and_hesitations_are_no_loss() -> None:
    assert passed_over(TURN, [*spoken(10.6, 14), *spoken(15.2, 19), *spoken(30.5, 33)]) == ()


def test_a_window_without_words_leaves_nothing() -> None:
    assert passed_over(TURN, []) == ()


def test_a_window_with_one_short_word_is_left_almost_whole() -> None:
    assert bounds(passed_over(TURN, words((9.6, 9.7)))) == [(9.7, 34.4)]


def test_a_stretched_word_stands_after_what_was_passed_over() -> None:
    assert unstretched(words((10, 10.5), (14, 20))) == tuple(words((10, 10.5), (19.2, 20)))
