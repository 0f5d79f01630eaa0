"""Cuts the speech of a track into pieces in which one person speaks, and describes the voice of each."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from app.audio.pcm import SAMPLE_RATE, PcmFile
from app.speech.speakers import networks
from app.speech.speakers.features import features
from app.transcripts.transcript import Span

WINDOW_SECONDS, STEP_SECONDS = 10, 5
FRAME_SECONDS, FRAME_CENTRE = 0.016875, 0.031  # of the network that hears windows
MAIN_PERSON = np.array([-1, 0, 1, 2, 0, 0, 1])  # of each of its classes
SHORTEST_GAP = 0.1  # seconds; a shorter one does not end a piece
LONGEST_PIECE = 1.9  # seconds
SHORTEST_VOICE = 0.4  # seconds of which a vector can be made
PAD = 0.2  # seconds around a run, where speech may begin and end

Vector = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Stretch:
    """Someone speaks from `start` to `end`. `person` counts from 0 and means the same person only in one window.

    Others speak at the same time unless `alone`.
    """

    start: float
    end: float
    window: int
    person: int
    alone: bool


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a stretch. `voice` has length 1; it is None if the piece is too short, or if others speak too."""

    start: float
    end: float
    stretch: Stretch
    voice: Vector | None

    @property
    def seconds(self) -> float:
        return self.end - self.start


def pieces_of(pcm: PcmFile, runs: Sequence[Span]) -> list[Piece]:
    return [piece for stretch in _joined(_stretches(pcm, runs)) for piece in _cut(pcm, stretch)]


def _stretches(pcm: PcmFile, runs: Sequence[Span]) -> Iterator[Stretch]:
    """The middle of each window is taken, because the network knows there what comes before and after."""
    last = max(0, -(-(pcm.samples - WINDOW_SECONDS * SAMPLE_RATE) // (STEP_SECONDS * SAMPLE_RATE)))
    margin = (WINDOW_SECONDS - STEP_SECONDS) / 2
    for number in range(last + 1):
        begin = number * STEP_SECONDS
        near = [run for run in runs if run.start - PAD < begin + WINDOW_SECONDS and run.end + PAD > begin]
        if not near:
            continue
        samples = pcm.read(begin * SAMPLE_RATE, WINDOW_SECONDS * SAMPLE_RATE)
        padded = np.pad(samples, (0, WINDOW_SECONDS * SAMPLE_RATE - len(samples)))
        classes = np.argmax(networks.who_speaks(padded[None])[0], axis=1)
        times = np.asarray(begin + FRAME_CENTRE + FRAME_SECONDS * np.arange(len(classes)), np.float64)
        classes[~_inside(times, near)] = 0
        first = 0 if number == 0 else np.searchsorted(times, begin + margin)
        end = len(times) if number == last else np.searchsorted(times, begin + WINDOW_SECONDS - margin)
        yield from _of_one(number, times[first:end], classes[first:end])


def _inside(times: NDArray[np.float64], runs: Sequence[Span]) -> NDArray[np.bool_]:
    inside = np.zeros(len(times), np.bool_)
    for run in runs:
        inside |= (times >= run.start - PAD) & (times < run.end + PAD)
    return inside


def _of_one(window: int, times: NDArray[np.float64], classes: NDArray[np.int64]) -> Iterator[Stretch]:
    edges = np.flatnonzero(np.diff(classes, prepend=-1, append=-1))
    for first, end in pairwise(edges):
        if kind := int(classes[first]):
            start, stop = times[first] - FRAME_SECONDS / 2, times[end - 1] + FRAME_SECONDS / 2
            yield Stretch(float(start), float(stop), window, int(MAIN_PERSON[kind]), kind <= 3)


def _joined(stretches: Iterator[Stretch]) -> Iterator[Stretch]:
    """Joins stretches that are parted by a moment, or by the border between two windows."""
    before: Stretch | None = None
    for stretch in stretches:
        if before and _goes_on(before, stretch):
            before = Stretch(before.start, stretch.end, stretch.window, stretch.person, stretch.alone)
        else:
            if before:
                yield before
            before = stretch
    if before:
        yield before


def _goes_on(before: Stretch, stretch: Stretch) -> bool:
    if before.alone != stretch.alone:
        return False
    if before.window != stretch.window:
        return stretch.start - before.end < 2 * FRAME_SECONDS
    return before.person == stretch.person and stretch.start - before.end < SHORTEST_GAP


def _cut(pcm: PcmFile, stretch: Stretch) -> Iterator[Piece]:
    count = int(np.ceil((stretch.end - stretch.start) / LONGEST_PIECE))
    edges = np.linspace(stretch.start, stretch.end, count + 1).tolist()
    for start, end in pairwise(edges):
        heard = stretch.alone and end - start >= SHORTEST_VOICE
        yield Piece(start, end, stretch, _voice(pcm, start, end) if heard else None)


def _voice(pcm: PcmFile, start: float, end: float) -> Vector:
    samples = pcm.read(round(start * SAMPLE_RATE), round((end - start) * SAMPLE_RATE))
    bands = features(samples)
    return np.asarray(networks.voices((bands - bands.mean(axis=0))[None])[0])
