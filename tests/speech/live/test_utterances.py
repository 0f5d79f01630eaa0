"""Utterances: speech between two pauses, found frame by frame."""

from collections.abc import Sequence

import numpy as np

from app.speech.live.utterances import FRAMES_PER_SECOND, Closed, Opened, UtteranceFinder
from app.speech.windows.cutting import FRAME_SAMPLES


def frames(seconds: float) -> int:
    return round(seconds * FRAMES_PER_SECOND)


def events(*stretches: tuple[float, float], longest: float = 10) -> Sequence[Opened | Closed]:
    """What is found in stretches of a probability for some seconds, which come frame by frame."""
    finder = UtteranceFinder(0.5, longest)
    line = np.concatenate([np.full(frames(seconds), probability, np.float32) for probability, seconds in stretches])
    found = [event for frame in line for event in finder.feed(np.array([frame]))]
    return [*found, *finder.finish()]


def test_an_utterance_ends_at_its_pause() -> None:
    start, end = frames(1) * FRAME_SAMPLES, frames(1) * FRAME_SAMPLES + frames(2) * FRAME_SAMPLES
    assert events((0, 1), (0.9, 2), (0, 2)) == [Opened(0, start), Closed(0, start, end)]


def test_a_short_pause_does_not_end_an_utterance() -> None:
    assert [type(event) for event in events((0.9, 1), (0, 0.3), (0.9, 1), (0, 1))] == [Opened, Closed]


def test_a_click_is_no_utterance() -> None:
    assert events((0, 1), (0.9, 0.06), (0, 1)) == []


def test_the_last_utterance_ends_with_the_channel() -> None:
    opened, closed = events((0.9, 1), (0, 0.2))
    assert opened == Opened(0, 0)
    assert closed == Closed(0, 0, frames(1) * FRAME_SAMPLES)


def test_a_long_utterance_is_cut_at_its_best_pause_and_goes_on() -> None:
    found = events((0.9, 7), (0.25, 0.3), (0.9, 6), (0, 1))
    first, second = [event for event in found if isinstance(event, Closed)]
    assert (first.number, second.number) == (0, 1)
    assert first.is_cut
    assert not second.is_cut
    assert 7 * FRAMES_PER_SECOND <= first.end / FRAME_SAMPLES <= 7.4 * FRAMES_PER_SECOND
    assert second.start == first.end
    assert found[2] == Opened(1, first.end)


def test_the_open_utterance_ends_where_its_speech_ends() -> None:
    finder = UtteranceFinder(0.5, 10)
    finder.feed(np.full(frames(1), 0.9, np.float32))
    finder.feed(np.full(frames(0.2), 0.0, np.float32))
    assert finder.open_utterance == (0, 0, frames(1) * FRAME_SAMPLES)
