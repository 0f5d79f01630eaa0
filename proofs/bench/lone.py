"""Measures how long a client waits for one call while nothing else is transcribed."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median

import numpy as np

from proofs.bench.calls import Call
from proofs.bench.compose import conversation, texts_of, written
from proofs.bench.measure import Run
from proofs.bench.sources import RATE, Sentence

LENGTHS = (10, 30, 60, 180)
CALLS_PER_LENGTH = 3


@dataclass(frozen=True)
class LoneRow:
    """The seconds from a request to the transcript of one call, as a median of several calls of about this length.

    `theirs` is (a), `ours` is the service with one client, and `ratio` is the median of theirs divided by ours.
    """

    length: str
    calls: int
    theirs: float
    ours: float
    ratio: float


def lone_calls(folder: Path, sentences: Sequence[Sentence]) -> list[Call]:
    """Writes stereo calls in English. The condition of each is its length."""
    spoken = [sentence for sentence in sentences if sentence.language == "en"]
    return [
        _call(folder, spoken, seconds, np.random.default_rng((seconds, number)))
        for seconds in LENGTHS
        for number in range(CALLS_PER_LENGTH)
    ]


def lone_rows(calls: Sequence[Call], theirs: Run, ours: Run) -> list[LoneRow]:
    """Compares a run of (a), file after file, with a run of the service with one client."""
    waits = [after - before for before, after in pairwise([0.0, *theirs.latencies])]
    figures = list(zip((call.condition for call in calls), waits, ours.latencies, strict=True))
    return [
        _row(length, [(one, other) for name, one, other in figures if name == length])
        for length in dict.fromkeys(call.condition for call in calls)
    ]


def _row(length: str, waits: Sequence[tuple[float, float]]) -> LoneRow:
    return LoneRow(
        length=length,
        calls=len(waits),
        theirs=median(one for one, _ in waits),
        ours=median(other for _, other in waits),
        ratio=median(one / other for one, other in waits),
    )


def _call(folder: Path, spoken: Sequence[Sentence], seconds: int, chance: np.random.Generator) -> Call:
    audio, said = conversation(spoken, seconds, chance)
    path = written(folder / f"lone-{seconds}-{chance.integers(10**9)}.wav", audio)
    return Call(path, len(audio), audio.shape[1] / RATE, f"{seconds} s", "en", texts_of(said))
