"""Measures how high one person speaks, from the periods of the voice.

The method is the autocorrelation of P. Boersma ("Accurate short-term analysis of the fundamental frequency and the
harmonics-to-noise ratio of a sampled sound", 1993), which also finds a pitch whose lowest harmonics a telephone cuts
off. A pitch that is an octave too high or too low has nearly as much evidence. So each stretch is measured twice, and
the second time a pitch near the usual pitch of the stretch is preferred.

It knows nothing of words and turns.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.audio.pcm import SAMPLE_RATE, PcmFile
from app.transcripts.series import NO_PITCH, PITCHES_PER_SECOND, step_of
from app.transcripts.transcript import Span

LOWEST_HERTZ, HIGHEST_HERTZ = 65.0, 500.0
RATE = SAMPLE_RATE // 2  # telephones carry nothing above 4 kHz, and half of the samples take half of the time
FRAME_SAMPLES = RATE // 20  # three periods of the lowest voice, which is the least that shows a period
FRAMES_PER_PITCH = RATE // FRAME_SAMPLES // PITCHES_PER_SECOND
SHORTEST_LAG, LONGEST_LAG = int(RATE / HIGHEST_HERTZ), int(RATE / LOWEST_HERTZ) + 1
TRANSFORM = 540  # a fast length that holds a frame and its longest lag
FRAMES_AT_ONCE = 64  # more do not fit into the processor's cache

CANDIDATES = 4
ROW_FRAMES = 20  # the path through the candidates is found for a second at a time, in many seconds at the same time
USUAL_ROWS = 8  # what is usual is decided for few seconds of speech, because another person may go on
STRETCH_ROWS = 10 * USUAL_ROWS

# The share of the faintest quarter of frames that has a pitch. In speech it was at most 0.4. With music that was 8 dB
# fainter than the speech, or louder, it was at least 0.57.
MOST_PITCHED_PAUSES = 0.5

# Boersma's own figures, except the preference for the usual pitch.
UNVOICED = 0.45
QUIET = 0.03  # of the stretch's loud frames; below twice this level there is no voice
COST_OF_LOWER_OCTAVE = 0.01
COST_PER_OCTAVE_FROM_USUAL = 0.2
COST_OF_JUMP = 0.35 / 5  # by an octave, from one frame to the next
COST_OF_CHANGE = 0.14 / 5  # from voice to no voice, or back

Floats = NDArray[np.float32]


class _Candidates(NamedTuple):
    """For each frame: the octaves (base-2 logarithms of hertz) of its candidates, how periodic each is, and its RMS."""

    octaves: Floats
    strengths: Floats
    rms: Floats


def pitches(pcm: PcmFile, own: Iterable[Span]) -> list[int]:
    """The pitch PITCHES_PER_SECOND times a second, as `series.step_of` gives it, or NO_PITCH if no voice is clear.

    `own` are stretches, ordered by time, in which one person speaks and nobody else does. Nothing else is read.
    Raises OSError.
    """
    found = [NO_PITCH] * -(-pcm.samples * PITCHES_PER_SECOND // SAMPLE_RATE)
    frames: list[NDArray[np.int64]] = []
    heard: list[_Candidates] = []
    for first, samples in _stretches(pcm, own):
        candidates = _candidates(samples.reshape(-1, FRAME_SAMPLES))
        frames.append(np.arange(first, first + len(candidates.rms)))
        heard.append(candidates)
        if sum(map(len, frames)) >= STRETCH_ROWS * ROW_FRAMES:
            _settle(frames, heard, found)
            frames, heard = [], []
    if frames:
        _settle(frames, heard, found)
    return found


def _stretches(pcm: PcmFile, own: Iterable[Span]) -> Iterator[tuple[int, Floats]]:
    """The number of each stretch's first frame, counted from the start of the recording, and whole frames at RATE."""
    step = SAMPLE_RATE // RATE * FRAME_SAMPLES
    for span in own:
        first, last = -int(-span.start * SAMPLE_RATE // step), int(span.end * SAMPLE_RATE // step)
        for at in range(first, last, STRETCH_ROWS * ROW_FRAMES):
            samples = pcm.read(at * step, min(STRETCH_ROWS * ROW_FRAMES, last - at) * step)
            samples = samples[: len(samples) // step * step]
            if len(samples):
                yield at, (samples[::2] + samples[1::2]) * np.float32(0.5)


def _window() -> tuple[Floats, Floats]:
    """A Hann window, and its autocorrelation, by which that of a frame is divided."""
    window = np.hanning(FRAME_SAMPLES + 2)[1:-1].astype(np.float32)
    own = np.fft.irfft(np.abs(np.fft.rfft(window, TRANSFORM)) ** 2, TRANSFORM)[: LONGEST_LAG + 2]
    return window, (own / own[0]).astype(np.float32)


WINDOW, WINDOW_LIKENESS = _window()
LAGS = np.arange(SHORTEST_LAG, LONGEST_LAG + 1)
LAG_COSTS = (COST_OF_LOWER_OCTAVE * np.log2(LAGS / SHORTEST_LAG)).astype(np.float32)


def _candidates(frames: Floats) -> _Candidates:
    parts = [_candidates_of(frames[at : at + FRAMES_AT_ONCE]) for at in range(0, len(frames), FRAMES_AT_ONCE)]
    return _joined(parts)


def _candidates_of(frames: Floats) -> _Candidates:
    frames = frames - frames.mean(axis=1, keepdims=True)
    spectrum = np.fft.rfft(frames * WINDOW, TRANSFORM)
    likeness = np.fft.irfft(spectrum.real**2 + spectrum.imag**2, TRANSFORM)[:, : LONGEST_LAG + 2]
    likeness /= np.maximum(likeness[:, :1], 1e-12) * WINDOW_LIKENESS
    before, at, after = (
        likeness[:, SHORTEST_LAG - 1 : -2],
        likeness[:, SHORTEST_LAG:-1],
        likeness[:, SHORTEST_LAG + 1 :],
    )
    scores = np.where((at > before) & (at >= after), at - LAG_COSTS, -1)
    best = np.argpartition(scores, -CANDIDATES, axis=1)[:, -CANDIDATES:]
    before, at, after, scores = (np.take_along_axis(each, best, axis=1) for each in (before, at, after, scores))
    bend = np.minimum(before - 2 * at + after, -1e-6)
    shift = np.clip((before - after) / (2 * bend), -0.5, 0.5)  # of the peak of the parabola through three values
    strengths = np.where(scores > 0, np.minimum(at - (before - after) * shift / 4, 1), 0)
    rms = np.sqrt(np.mean(np.square(frames), axis=1))
    return _Candidates(*(each.astype(np.float32) for each in (np.log2(RATE / (LAGS[best] + shift)), strengths, rms)))


def _joined(parts: Sequence[_Candidates]) -> _Candidates:
    return _Candidates(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def _settle(frames: Sequence[NDArray[np.int64]], heard: Sequence[_Candidates], found: list[int]) -> None:
    """Decides the pitch of each frame, and writes their medians to `found`."""
    candidates = _in_rows(_joined(heard))
    octaves = candidates.octaves
    first = _path(candidates, candidates.strengths - COST_OF_LOWER_OCTAVE * (np.log2(HIGHEST_HERTZ) - octaves))
    usual = _of_neighbours(first, lambda near: np.median(near[near > 0]) if np.any(near > 0) else 0.0)
    distance = np.abs(octaves - usual[:, None, None])
    path = _path(candidates, candidates.strengths - COST_PER_OCTAVE_FROM_USUAL * distance)
    path = _without_music(path, candidates.rms).reshape(-1)
    path = path[: sum(map(len, frames))]
    for place, octave in _medians(np.concatenate(frames)[path > 0] // FRAMES_PER_PITCH, path[path > 0]):
        if place < len(found):
            found[place] = step_of(2**octave)


def _medians(places: NDArray[np.int64], values: Floats) -> Iterable[tuple[int, float]]:
    """Each place, and the median of its values."""
    values = values[np.lexsort((values, places))]
    different, first, counts = np.unique(np.sort(places), return_index=True, return_counts=True)
    medians = (values[first + (counts - 1) // 2] + values[first + counts // 2]) / 2
    return zip(different.tolist(), medians.tolist(), strict=True)


def _without_music(path: Floats, rms: Floats) -> Floats:
    """The path, or 0 for some seconds if they have a pitch where the voice pauses: that is music, or a hum."""
    kept = path.copy()
    for at in range(0, len(path), USUAL_ROWS):
        near, levels = path[at : at + USUAL_ROWS].reshape(-1), rms[at : at + USUAL_ROWS].reshape(-1)
        faintest = np.argsort(levels)[: len(levels) // 4]
        if np.count_nonzero(near[faintest]) > MOST_PITCHED_PAUSES * len(faintest):
            kept[at : at + USUAL_ROWS] = 0
    return kept


def _in_rows(candidates: _Candidates) -> _Candidates:
    """The frames in rows of a second. Frames without candidates fill the last row."""
    padding = -len(candidates.rms) % ROW_FRAMES
    octaves, strengths = (
        np.pad(each, ((0, padding), (0, 0))).reshape(-1, ROW_FRAMES, CANDIDATES)
        for each in (candidates.octaves, candidates.strengths)
    )
    return _Candidates(octaves, strengths, np.pad(candidates.rms, (0, padding)).reshape(-1, ROW_FRAMES))


def _of_neighbours(rows: Floats, measure: Callable[[Floats], Any]) -> Floats:
    """Measures USUAL_ROWS rows together, and returns one value for each row."""
    found = [measure(rows[at : at + USUAL_ROWS]) for at in range(0, len(rows), USUAL_ROWS)]
    return np.repeat(np.asarray(found, np.float32), USUAL_ROWS)[: len(rows)]


def _path(candidates: _Candidates, scores: Floats) -> Floats:
    """The octave of each frame, or 0 if it has no voice: the best path through the candidates of each row (Viterbi)."""
    loud = np.maximum(_of_neighbours(candidates.rms, lambda near: np.percentile(near, 95)), 1e-9)
    unvoiced = UNVOICED + np.maximum(0, 2 - candidates.rms / loud[:, None] * (1 + UNVOICED) / QUIET)
    scores = np.where(candidates.strengths > 0, scores, -9)
    states = np.concatenate([scores, unvoiced[:, :, None]], axis=2)
    best, came_from = states[:, 0], np.zeros(states.shape, np.int8)
    cost = np.full((len(states), CANDIDATES + 1, CANDIDATES + 1), COST_OF_CHANGE, np.float32)
    cost[:, -1, -1] = 0
    jumps = COST_OF_JUMP * np.abs(candidates.octaves[:, :-1, :, None] - candidates.octaves[:, 1:, None, :])
    for at in range(1, ROW_FRAMES):
        cost[:, :-1, :-1] = jumps[:, at - 1]
        total = best[:, :, None] - cost
        came_from[:, at] = total.argmax(axis=1)
        best = total.max(axis=1) + states[:, at]
    chosen, rows = np.zeros(states.shape[:2], np.intp), np.arange(len(states))
    chosen[:, -1] = best.argmax(axis=1)
    for at in range(ROW_FRAMES - 1, 0, -1):
        chosen[:, at - 1] = came_from[rows, at, chosen[:, at]]
    octaves = np.concatenate([candidates.octaves, np.zeros((*chosen.shape, 1), np.float32)], axis=2)
    path: Floats = np.take_along_axis(octaves, chosen[:, :, None], axis=2)[:, :, 0]
    return path
