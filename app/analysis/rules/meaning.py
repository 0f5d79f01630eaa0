"""Compares the meanings of sentences by the vectors of a model, and says from which score on they count. Pure.

The model finds all sentences of one language similar. So what neutral sentences have in common is taken away first:
then 0 is the score of sentences that have nothing to do with one another, and 1 that of the same sentence.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from app.analysis.rules.neutral import NEUTRAL, neutral

Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Limits:
    """From `sure` on, a sentence has the meaning. From `maybe` on, a person has to listen."""

    sure: float
    maybe: float


# Measured by `python -m proofs.checks`: see docs/decisions/0064-rules-without-a-model.md.
USUAL = Limits(sure=0.5, maybe=0.3)
WITHOUT_NEUTRAL = Limits(sure=0.6, maybe=0.4)


class MeaningUnavailable(Exception):
    """The model cannot be loaded here. Then nobody knows what conditions by meaning would find."""


class Meaning(Protocol):
    """Texts → vectors of length 1, a row for each. Raises MeaningUnavailable."""

    def of_examples(self, texts: Sequence[str]) -> Vectors:
        """Those of definitions, which are the same for every call."""
        ...

    def of_speech(self, texts: Sequence[str]) -> Vectors:
        """Those of a call, of which nothing is kept."""
        ...


def limits(language: str | None, min_score: float | None) -> Limits:
    usual = USUAL if language in NEUTRAL else WITHOUT_NEUTRAL
    return usual if min_score is None else Limits(min_score, min_score - (usual.sure - usual.maybe))


def scores(
    meaning: Meaning, speech: Sequence[Vectors], examples: Sequence[str], language: str | None
) -> list[list[float]]:
    """For each vector of speech, how close its meaning is to that of each example, from -1 to 1."""
    if not speech:
        return []
    common = meaning.of_examples(neutral(language)).mean(axis=0)
    said, meant = (_directions(vectors - common) for vectors in (np.stack(speech), meaning.of_examples(examples)))
    rows: list[list[float]] = (said @ meant.T).tolist()
    return rows


def _directions(vectors: Vectors) -> Vectors:
    directions: Vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)
    return directions
