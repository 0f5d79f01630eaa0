"""Parts a window where its channel changes the language; pure."""

from collections.abc import Sequence
from itertools import accumulate, pairwise

import numpy as np
from numpy.typing import NDArray

from app.audio.pcm import SAMPLE_RATE
from app.speech.windows.cutting import Piece, Window

QUIET_SAMPLES = round(0.2 * SAMPLE_RATE)
NEAR_SECONDS = 1.5  # the change is in a pause, if the speech has one this near


def part_at(window: Window, times: Sequence[float], margin: float, samples: NDArray[np.float32]) -> list[Window]:
    """Parts a window near each of the ascending `times`, which are seconds in the window.

    It is cut where two of its pieces meet less than `margin` seconds away, else at the quietest point near the time.
    `times` are at least two margins apart, and more than a margin from the ends. `samples` are those of the window.
    """
    cuts = [_cut(window, time, margin, samples) for time in times]
    total = sum(piece.samples for piece in window.pieces)
    return [_between(window, start, end) for start, end in pairwise((0, *cuts, total))]


def _cut(window: Window, time: float, margin: float, samples: NDArray[np.float32]) -> int:
    """The first sample of the later part, counted without the gaps."""
    at = round(time * SAMPLE_RATE)
    meetings = list(accumulate(piece.samples for piece in window.pieces))[:-1]
    nearest = min(meetings, key=lambda meeting: abs(meeting - at), default=None)
    if nearest is not None and abs(nearest - at) < margin * SAMPLE_RATE:
        return nearest
    first = at - round(min(margin, NEAR_SECONDS) * SAMPLE_RATE)
    near = samples[first : 2 * at - first]
    energy = np.convolve(near**2, np.ones(QUIET_SAMPLES, np.float32), mode="valid")
    return first + int(np.argmin(energy)) + QUIET_SAMPLES // 2


def _between(window: Window, start: int, end: int) -> Window:
    """The part between two samples of the window, counted without the gaps."""
    pieces, offset = [], 0
    for piece in window.pieces:
        first, last = max(start - offset, 0), min(end - offset, piece.samples)
        if first < last:
            pieces.append(Piece(piece.start + first, piece.start + last))
        offset += piece.samples
    return Window(tuple(pieces))
