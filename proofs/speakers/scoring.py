"""Compares who was said to speak with who speaks, as diarization error rates do."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from app.speech.speakers.turns import VoiceTurn

FRAME = 0.01  # seconds
COLLAR = 0.25  # seconds around each true start and end that do not count

Active = NDArray[np.bool_]
"""Whether each speaker speaks, as (speakers, frames)."""


@dataclass(frozen=True)
class Spoken:
    """A stretch in which a speaker truly speaks. Stretches of two speakers may overlap."""

    start: float
    end: float
    speaker: int


@dataclass(frozen=True)
class Score:
    """Shares of the seconds of speech; `wrong_names` is a share of those seconds that got a name.

    `error` is the diarization error rate, in which speech without a name counts as missed. `error_of_named` leaves
    all out that got no name.
    """

    error: float
    error_of_named: float
    unnamed: float
    wrong_names: float
    speakers: int


def score(truth: Sequence[Spoken], turns: Sequence[VoiceTurn], seconds: float) -> Score:
    frames = round(seconds / FRAME)
    people = max(spoken.speaker for spoken in truth) + 1
    named = [turn for turn in turns if turn.speaker is not None]
    found = 1 + max((turn.speaker for turn in named if turn.speaker is not None), default=-1)
    true, said = np.zeros((people, frames), np.bool_), np.zeros((max(found, people), frames), np.bool_)
    counted, doubtful = np.ones(frames, np.bool_), np.zeros(frames, np.bool_)
    for spoken in truth:
        true[spoken.speaker, _frames(spoken.start, spoken.end)] = True
        for edge in (spoken.start, spoken.end):
            counted[_frames(edge - COLLAR, edge + COLLAR)] = False
    for turn in turns:
        if turn.speaker is None:
            doubtful[_frames(turn.start, turn.end)] = True
        else:
            said[turn.speaker, _frames(turn.start, turn.end)] = True
    said = max(
        (said[list(order)] for order in permutations(range(len(said)), len(said))), key=lambda each: _right(true, each)
    )
    speech = true[:, counted].any(axis=0)
    single = said[:, counted].any(axis=0) & speech
    right = (true[:, counted] & said[: len(true), counted]).any(axis=0)
    return Score(
        _error(true[:, counted], said[:, counted]),
        _error(true[:, counted & ~doubtful], said[:, counted & ~doubtful]),
        float((doubtful[counted] & speech).sum() / speech.sum()),
        float((single & ~right).sum() / max(single.sum(), 1)),
        found,
    )


def _frames(start: float, end: float) -> slice:
    return slice(max(0, round(start / FRAME)), max(0, round(end / FRAME)))


def _right(true: Active, said: Active) -> int:
    return int((true & said[: len(true)]).sum())


def _error(true: Active, said: Active) -> float:
    """Speech that was missed, sound that is no speech, and speech of another, by the seconds of speech."""
    spoken, named = true.sum(axis=0), said.sum(axis=0)
    right = (true & said[: len(true)]).sum(axis=0)
    return float((np.maximum(spoken, named) - right).sum() / max(spoken.sum(), 1))
