import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.audio.pcm import SAMPLE_RATE
from app.speech.windows.cutting import FRAME_SAMPLES, Piece, Window, WindowFinder

FRAMES_PER_SECOND = SAMPLE_RATE / FRAME_SAMPLES
PAD = 0.4

Runs = list[tuple[float, float]]
"""Seconds and speech probability of stretches of a channel."""


def frames(runs: Runs) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return np.concatenate([np.full(round(seconds * FRAMES_PER_SECOND), level, np.float32) for seconds, level in runs])


def windows(runs: Runs, max_seconds: float = 18, stretch: int = 10_000) -> list[Window]:
    """The windows of a channel that is read `stretch` frames at a time."""
    probabilities = frames(runs)
    finder = WindowFinder(round(max_seconds * SAMPLE_RATE))
    found = [
        window for at in range(0, len(probabilities), stretch) for window in finder.feed(probabilities[at:][:stretch])
    ]
    return found + finder.finish(len(probabilities) * FRAME_SAMPLES)


def bounds(window: Window) -> list[tuple[float, float]]:
    return [(piece.start / SAMPLE_RATE, piece.end / SAMPLE_RATE) for piece in window.pieces]


def approx(*pieces: tuple[float, float]) -> list[object]:
    return [pytest.approx(piece, abs=0.06) for piece in pieces]


def test_silence_has_no_windows() -> None:
    assert windows([(60, 0.02)]) == []


def test_speech_is_padded_within_the_channel() -> None:
    [window] = windows([(2, 0), (3, 0.9), (2, 0), (3, 0.9)])

    assert bounds(window) == approx((2 - PAD, 5 + PAD), (7 - PAD, 10))


def test_speech_ends_with_the_recording() -> None:
    finder = WindowFinder(18 * SAMPLE_RATE)
    samples = 3 * SAMPLE_RATE + 1
    finder.feed(np.full(-(-samples // FRAME_SAMPLES), 0.9, np.float32))

    [window] = finder.finish(samples)

    assert (window.pieces, finder.runs) == ((Piece(0, samples),), [Piece(0, samples)])


def test_a_click_is_not_speech() -> None:
    assert windows([(2, 0), (0.07, 0.9), (2, 0)]) == []


def test_a_short_pause_does_not_end_speech() -> None:
    [window] = windows([(1, 0), (2, 0.9), (0.3, 0), (2, 0.9), (1, 0)])

    assert bounds(window) == approx((1 - PAD, 5.3 + PAD))


def test_padding_is_shared_if_a_pause_is_short() -> None:
    [window] = windows([(1, 0), (2, 0.9), (0.6, 0), (2, 0.9), (1, 0)])

    (_, first_end), (second_start, _) = bounds(window)
    assert first_end == second_start == pytest.approx(3.3, abs=0.05)


def test_weak_speech_continues_until_it_is_silent() -> None:
    [window] = windows([(1, 0), (2, 0.9), (3, 0.3), (2, 0)])

    assert bounds(window) == approx((1 - PAD, 6 + PAD))


def test_pieces_of_speech_are_joined_if_they_fit_into_a_window() -> None:
    found = windows([(4, 0.9), (5, 0)] * 5)

    assert [len(window.pieces) for window in found] == [3, 2]


def test_long_speech_is_cut_at_its_most_silent_point() -> None:
    first, second = windows([(1, 0), (12, 0.9), (0.2, 0.4), (11, 0.9), (1, 0)])

    assert bounds(first)[-1][1] == bounds(second)[0][0] == pytest.approx(13.1, abs=0.1)


def test_speech_without_a_break_is_cut_too() -> None:
    found = windows([(100, 0.99)])

    assert max(window.seconds for window in found) <= 18
    assert sum(window.seconds for window in found) == pytest.approx(100, abs=0.1)


@given(
    st.lists(st.tuples(st.floats(0.05, 25), st.sampled_from([0.0, 0.3, 0.42, 0.6, 0.95])), min_size=1, max_size=30),
    st.integers(1, 2000),
)
def test_windows_are_in_order_and_inside_the_channel_for_every_length_of_stretches(runs: Runs, stretch: int) -> None:
    length = len(frames(runs)) * FRAME_SAMPLES

    found = windows(runs, stretch=stretch)

    assert found == windows(runs)
    edges = [edge for window in found for piece in window.pieces for edge in (piece.start, piece.end)]
    assert edges == sorted(edges)
    assert all(0 <= edge <= length for edge in edges)
    assert all(piece.samples > 0 for window in found for piece in window.pieces)
    assert all(window.seconds <= 18 for window in found)


WINDOW = Window((Piece(10 * SAMPLE_RATE, 12 * SAMPLE_RATE), Piece(20 * SAMPLE_RATE, 25 * SAMPLE_RATE)))


@pytest.mark.parametrize(
    ("start", "end", "begins_phrase", "located"),
    [
        (0.5, 1.0, False, (10.5, 11.0)),
        (3.0, 3.5, False, (21.0, 21.5)),
        (1.0, 2.2, False, (11.0, 12.0)),
        (1.8, 3.0, False, (20.0, 21.0)),
        (1.7, 1.9, False, (11.7, 11.9)),
        (1.7, 1.9, True, (20.0, 20.0)),
        (6.9, 9.0, False, (24.9, 25.0)),
    ],
)
def test_a_time_in_a_window_is_converted_to_a_time_in_the_recording(
    start: float, end: float, begins_phrase: bool, located: tuple[float, float]
) -> None:
    assert WINDOW.locate(start, end, begins_phrase=begins_phrase) == pytest.approx(located)


@given(st.lists(st.tuples(st.floats(0.1, 12), st.sampled_from([0.02, 0.3, 0.9])), max_size=20))
def test_no_window_begins_before_the_time_that_was_announced(runs: Runs) -> None:
    probabilities = frames([(0.1, 0.0), *runs])
    finder, announced = WindowFinder(18 * SAMPLE_RATE), 0.0
    for at in range(0, len(probabilities), 100):
        assert all(window.start >= announced for window in finder.feed(probabilities[at:][:100]))
        assert finder.open_from >= announced
        announced = finder.open_from
    assert all(window.start >= announced for window in finder.finish(len(probabilities) * FRAME_SAMPLES))
