"""Finds the utterances of a channel while its voice activity comes in; pure.

An utterance is speech between two pauses. A long one is cut at its best pause, because a model hears only so much.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from app.audio.pcm import SAMPLE_RATE
from app.speech.windows.cutting import (
    FRAME_SAMPLES,
    MIN_SPEECH_FRAMES,
    SPEECH_THRESHOLD,
    best_pause,
    quiet_since,
)

FRAMES_PER_SECOND = SAMPLE_RATE / FRAME_SAMPLES


@dataclass(frozen=True, slots=True)
class Opened:
    """An utterance has begun. `start` is a sample of the channel."""

    number: int
    start: int


@dataclass(frozen=True, slots=True)
class Closed:
    """An utterance has ended. If `is_cut`, the speaker goes on, and the next utterance begins at its end."""

    number: int
    start: int
    end: int
    is_cut: bool = False


@dataclass
class UtteranceFinder:
    """Takes the probability of speech of each frame. An utterance is at most `longest_seconds` long."""

    silence_seconds: float
    longest_seconds: float
    _frame: int = 0
    _number: int = 0
    _run_start: int = 0
    _run: list[float] = field(default_factory=list)
    _quiet_since: int | None = None
    _is_open: bool = False

    @property
    def open_utterance(self) -> tuple[int, int, int] | None:
        """The number of the utterance that goes on, its first sample, and the last sample of its speech so far."""
        if not self._is_open:
            return None
        return self._number, self._run_start * FRAME_SAMPLES, self._speech_end * FRAME_SAMPLES

    @property
    def quiet_seconds(self) -> float:
        """For how long the utterance that goes on has paused; 0 if it does not, or if there is none."""
        return 0.0 if self._quiet_since is None else (self._frame - self._quiet_since) / FRAMES_PER_SECOND

    def feed(self, probabilities: NDArray[np.float32]) -> list[Opened | Closed]:
        found: list[Opened | Closed] = []
        for probability in probabilities.tolist():
            found += self._hear(probability)
            self._frame += 1
        return found

    def finish(self) -> list[Opened | Closed]:
        """The channel has ended, and so has its last utterance."""
        return list(self._close(self._speech_end)) if self._run else []

    @property
    def _speech_end(self) -> int:
        return self._frame if self._quiet_since is None else self._quiet_since

    def _hear(self, probability: float) -> Iterator[Opened | Closed]:
        if not self._run:
            if probability < SPEECH_THRESHOLD:
                return
            self._run_start = self._frame
        self._run.append(probability)
        self._quiet_since = quiet_since(self._quiet_since, probability, self._frame)
        speech = (self._frame + 1 if self._quiet_since is None else self._quiet_since) - self._run_start
        if not self._is_open and speech >= MIN_SPEECH_FRAMES:
            self._is_open = True
            yield Opened(self._number, self._run_start * FRAME_SAMPLES)
        if (
            self._quiet_since is not None
            and self._frame - self._quiet_since >= self.silence_seconds * FRAMES_PER_SECOND
        ):
            yield from self._close(self._quiet_since)
        elif len(self._run) >= self.longest_seconds * FRAMES_PER_SECOND:
            yield from self._cut()

    def _close(self, end: int, *, is_cut: bool = False) -> Iterator[Opened | Closed]:
        start, was_open = self._run_start, self._is_open
        self._run, self._quiet_since, self._is_open = [], None, False
        if was_open:
            yield Closed(self._number, start * FRAME_SAMPLES, end * FRAME_SAMPLES, is_cut)
            self._number += 1

    def _cut(self) -> Iterator[Opened | Closed]:
        """Ends an utterance that gets too long at the most silent point of its second half."""
        length, _ = best_pause(self._run, len(self._run) // 2, len(self._run))
        cut, later, quiet = self._run_start + length, self._run[length:], self._quiet_since
        yield from self._close(cut, is_cut=True)
        self._run_start, self._run = cut, later
        self._quiet_since = quiet if quiet is not None and quiet >= cut else None
        self._is_open = True
        yield Opened(self._number, cut * FRAME_SAMPLES)
