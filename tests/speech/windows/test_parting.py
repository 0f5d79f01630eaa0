"""A window is parted where its pieces meet, or at a pause."""

import numpy as np
import pytest

from app.audio.pcm import SAMPLE_RATE
from app.speech.windows.cutting import Piece, Window
from app.speech.windows.parting import part_at


def seconds(start: float, end: float) -> Piece:
    return Piece(round(start * SAMPLE_RATE), round(end * SAMPLE_RATE))


def sound(length: float) -> "np.ndarray[tuple[int], np.dtype[np.float32]]":
    return np.full(round(length * SAMPLE_RATE), 0.1, np.float32)


def test_a_window_is_parted_where_its_pieces_meet() -> None:
    window = Window((seconds(1, 5), seconds(7, 11), seconds(20, 24)))

    parts = part_at(window, [6.5], 3.0, sound(12))
    both = part_at(window, [4.5, 7.5], 1.5, sound(12))

    assert parts == [Window(window.pieces[:2]), Window(window.pieces[2:])]
    assert both == [Window((piece,)) for piece in window.pieces]


@pytest.mark.parametrize("pause", [4.8, 6.0, 7.1])
def test_a_window_of_one_piece_is_parted_at_its_pause(pause: float) -> None:
    samples = sound(12)
    samples[round((pause - 0.15) * SAMPLE_RATE) : round((pause + 0.15) * SAMPLE_RATE)] = 0

    first, later = part_at(Window((seconds(100, 112),)), [6.0], 3.0, samples)

    assert (first.start, later.end) == (100, 112)
    assert first.end == later.start == pytest.approx(100 + pause, abs=0.06)


def test_each_part_has_its_share_of_the_pieces() -> None:
    window = Window((seconds(0, 2), seconds(3, 13)))
    samples = sound(12)
    samples[8 * SAMPLE_RATE : 9 * SAMPLE_RATE] = 0

    first, later = part_at(window, [8.5], 3.0, samples)

    assert first.pieces[0] == window.pieces[0]
    assert 9 < first.end == later.start < 10
    assert first.seconds + later.seconds == window.seconds
