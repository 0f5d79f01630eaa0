"""Makes turns of pieces of speech. Pure. A wrong name is worse than none, so a doubtful turn has none."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from app.speech.speakers.naming import Naming
from app.speech.speakers.pieces import Piece

SHORTEST_TURN = 0.6  # seconds
LONGEST_PAUSE = 0.5  # seconds inside a turn
LEAST_CONFIDENCE = 0.8


@dataclass(frozen=True, slots=True)
class VoiceTurn:
    """A stretch in which one voice speaks.

    `speaker` counts from 0 in the order of first speech. It is None if it is not sure who speaks. `confidence` is 0–1.
    """

    start: float
    end: float
    speaker: int | None
    confidence: float


def turns_of(pieces: Sequence[Piece], naming: Naming) -> list[VoiceTurn]:
    turns, probabilities = [], naming.probabilities
    order: dict[int, int] = {}
    for first, end in _together(pieces, np.argmax(probabilities, axis=1)):
        start, stop = pieces[first].start, pieces[end - 1].end
        seconds = np.array([piece.seconds for piece in pieces[first:end]])
        odds = (probabilities[first:end] * seconds[:, None]).sum(axis=0) / seconds.sum()
        confidence = float(odds.max())
        likeliest = int(odds.argmax())
        sure = stop - start >= SHORTEST_TURN and confidence >= LEAST_CONFIDENCE and likeliest != naming.nameless
        speaker = order.setdefault(likeliest, len(order)) if sure else None
        turns.append(VoiceTurn(start, stop, speaker, round(confidence, 3)))
    return turns


def _together(pieces: Sequence[Piece], speakers: NDArray[np.int64]) -> list[tuple[int, int]]:
    """The first piece of each turn, and the one after its last."""
    firsts = [
        at
        for at in range(len(pieces))
        if at == 0 or speakers[at] != speakers[at - 1] or pieces[at].start - pieces[at - 1].end > LONGEST_PAUSE
    ]
    return list(pairwise([*firsts, len(pieces)]))
