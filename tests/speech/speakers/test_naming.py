"""How many people speak, from made-up voices."""

import numpy as np

from app.speech.speakers.naming import MOST_COMPARED, named
from app.speech.speakers.pieces import Piece, Stretch, Vector
from app.speech.speakers.turns import turns_of


def pieces_of(voices: int, count: int, apart: float = 1.0) -> list[Piece]:
    """Voices take turns. The second one says little at a time. Voices that are less `apart` are more alike."""
    chance = np.random.default_rng(1)
    centres = chance.normal(size=192) * (1 - apart) + chance.normal(size=(voices, 192)) * apart
    pieces = []
    for number in range(count):
        start, voice = 2.0 * number, number % voices
        end = start + (1.9 if voice == 0 else 1.0)
        pieces.append(Piece(start, end, Stretch(start, end, 0, voice, alone=True), _near(centres[voice], chance)))
    return pieces


def _near(centre: Vector, chance: np.random.Generator) -> Vector:
    vector = centre + 0.8 * chance.normal(size=len(centre))
    return np.asarray(vector / np.linalg.norm(vector), np.float32)


def test_in_a_long_call_one_who_says_little_at_a_time_is_a_speaker() -> None:
    speakers = np.argmax(named(pieces_of(2, 3 * MOST_COMPARED), most=2, exact=None).probabilities, axis=1)

    assert len(set(speakers[::2])) == len(set(speakers[1::2])) == 1
    assert speakers[0] != speakers[1]


def test_one_voice_is_never_two() -> None:
    assert named(pieces_of(1, 200), most=4, exact=None).probabilities.shape == (200, 1)


def test_a_voice_that_may_be_another_one_gets_no_name() -> None:
    pieces = pieces_of(2, 60, apart=0.27)
    naming = named(pieces, most=2, exact=None)
    assert naming.nameless is not None
    turns = turns_of(pieces, naming)
    assert {turn.speaker for turn in turns} == {0, None}
    assert {turn.speaker for turn in turns_of(pieces, named(pieces, most=2, exact=2))} >= {0, 1}
