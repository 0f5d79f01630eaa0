"""Cuts the speech of a channel into windows, each of which the model hears as a whole; pure.

Voice activity gives one probability of speech for each frame of `FRAME_SAMPLES`. A run is speech without a long pause.
Each run is padded with a little silence, and runs are joined into windows. If a run does not fit into the window, it is
cut at the best pause that fills the window well. If there is no such pause, the run begins a new window.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from operator import itemgetter

import numpy as np
from numpy.typing import NDArray

from app.audio.pcm import SAMPLE_RATE

FRAME_SAMPLES = 512

# Silero's own thresholds are 0.5 and 0.35. On telephone calls these miss whole sentences.
SPEECH_THRESHOLD = 0.35
SILENCE_THRESHOLD = 0.2
MIN_SILENCE_FRAMES = round(0.5 * SAMPLE_RATE / FRAME_SAMPLES)
MIN_SPEECH_FRAMES = round(0.125 * SAMPLE_RATE / FRAME_SAMPLES)
PAD_SECONDS = 0.4
PAD_SAMPLES = round(PAD_SECONDS * SAMPLE_RATE)
CUT_SMOOTHING_FRAMES = 5

# To fill a window, a run is cut only if both parts are this long, and only at a pause, or names would be cut in two.
MIN_CUT_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of one channel, in samples from its start."""

    start: int
    end: int

    @property
    def samples(self) -> int:
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Window:
    """Pieces of one channel that the model hears one after the other. A time in the window counts without the gaps."""

    pieces: tuple[Piece, ...]

    @property
    def seconds(self) -> float:
        return sum(piece.samples for piece in self.pieces) / SAMPLE_RATE

    @property
    def start(self) -> float:
        """Where the window begins in the recording, in seconds."""
        return self.pieces[0].start / SAMPLE_RATE

    @property
    def end(self) -> float:
        """Where the window ends in the recording, in seconds."""
        return self.pieces[-1].end / SAMPLE_RATE

    def between(self, start: float, end: float) -> "Window | None":
        """The part of the window between two times in the recording; None if that is empty."""
        first, last = round(start * SAMPLE_RATE), round(end * SAMPLE_RATE)
        clipped = (Piece(max(piece.start, first), min(piece.end, last)) for piece in self.pieces)
        pieces = tuple(piece for piece in clipped if piece.samples > 0)
        return Window(pieces) if pieces else None

    def speech_seconds(self, start: float, end: float) -> float:
        """The seconds of speech between two times in the recording, less PAD_SECONDS at each end of a piece."""
        return sum(
            max(
                0.0,
                min(end, piece.end / SAMPLE_RATE - PAD_SECONDS) - max(start, piece.start / SAMPLE_RATE + PAD_SECONDS),
            )
            for piece in self.pieces
        )

    def locate(self, start: float, end: float, *, begins_phrase: bool) -> tuple[float, float]:
        """Seconds in the window → seconds in the recording, within the one piece that a word belongs to.

        A word belongs to the piece whose speech it overlaps most. If it is in the silence where two pieces meet, it
        belongs to the later piece if it `begins_phrase`, because alignments start words too early more often than they
        end them too late.
        """
        offsets = accumulate((piece.samples / SAMPLE_RATE for piece in self.pieces), initial=0.0)
        placed = list(zip(offsets, self.pieces, strict=False))
        overlap, offset, piece = max(
            ((_speech_overlap(start - offset, end - offset, piece), offset, piece) for offset, piece in placed),
            key=itemgetter(0),
        )
        if overlap <= 0:
            middle = (start + end) / 2 + (PAD_SECONDS if begins_phrase else 0.0)
            offset, piece = next((at for at in reversed(placed) if at[0] <= middle), placed[0])
        first, last = piece.start / SAMPLE_RATE, piece.end / SAMPLE_RATE
        return min(max(first + start - offset, first), last), min(max(first + end - offset, first), last)


def _speech_overlap(start: float, end: float, piece: Piece) -> float:
    """Seconds that a stretch shares with a piece without its padding; times count from the piece's start."""
    return min(end, piece.samples / SAMPLE_RATE - PAD_SECONDS) - max(start, PAD_SECONDS)


@dataclass
class WindowFinder:
    """Finds the windows of one channel while its voice activity comes in. It keeps no samples.

    No window is longer than `max_samples`. `runs` holds the speech so far, without padding.
    """

    max_samples: int
    runs: list[Piece] = field(default_factory=list)
    _frame: int = 0
    _run_start: int = 0
    _run: list[float] = field(default_factory=list)
    _quiet_since: int | None = None
    _unpadded: "_Speech | None" = None
    _pad_before: int = 0
    _joined: list[Piece] = field(default_factory=list)
    _windows: list[Window] = field(default_factory=list)

    def feed(self, probabilities: NDArray[np.float32]) -> list[Window]:
        """Takes the speech probabilities (0–1) of the next frames. Returns the windows that are now complete."""
        for probability in probabilities.tolist():
            self._hear(probability)
            self._frame += 1
        return self._take_windows()

    def finish(self, samples: int) -> list[Window]:
        """Ends a channel of `samples`. Returns the windows that were still open."""
        if self._run:
            self._end_run(self._frame if self._quiet_since is None else self._quiet_since, samples)
        if self._unpadded:
            self._pad(self._unpadded, min(PAD_SAMPLES, samples - self._unpadded.piece.end))
        self._close_window()
        return self._take_windows()

    @property
    def open_from(self) -> float:
        """No window that is still to come begins before this time, in seconds."""
        if self._joined:
            start = self._joined[0].start
        elif self._unpadded:
            start = self._unpadded.piece.start - self._pad_before
        else:
            start = (self._run_start if self._run else self._frame) * FRAME_SAMPLES - PAD_SAMPLES
        return max(0, start) / SAMPLE_RATE

    def _hear(self, probability: float) -> None:
        if not self._run:
            if probability < SPEECH_THRESHOLD:
                return
            self._run_start = self._frame
        self._run.append(probability)
        self._quiet_since = quiet_since(self._quiet_since, probability, self._frame)
        if self._quiet_since is not None and self._frame - self._quiet_since >= MIN_SILENCE_FRAMES:
            self._end_run(self._quiet_since)
        elif len(self._run) * FRAME_SAMPLES >= self.max_samples - 2 * PAD_SAMPLES:
            self._cut_run()

    def _end_run(self, end: int, samples: int | None = None) -> None:
        """Ends a run before the frame `end`, which may reach past the end of a channel of `samples`."""
        run, self._run, self._quiet_since = self._run[: end - self._run_start], [], None
        if len(run) >= MIN_SPEECH_FRAMES:
            last = end * FRAME_SAMPLES if samples is None else min(end * FRAME_SAMPLES, samples)
            self._add(_Speech(Piece(self._run_start * FRAME_SAMPLES, last), run))

    def _cut_run(self) -> None:
        """Ends a run that fills a window at the most silent point of its second half."""
        length, _ = best_pause(self._run, len(self._run) // 2, len(self._run))
        cut, later, quiet = self._run_start + length, self._run[length:], self._quiet_since
        self._end_run(cut)
        self._run_start, self._run = cut, later
        self._quiet_since = quiet if quiet is not None and quiet >= cut else None

    def _add(self, speech: "_Speech") -> None:
        self.runs.append(speech.piece)
        pad = min(PAD_SAMPLES, speech.piece.start)
        if self._unpadded:
            pad = min(PAD_SAMPLES, (speech.piece.start - self._unpadded.piece.end) // 2)
            self._pad(self._unpadded, pad)
        self._unpadded, self._pad_before = speech, pad

    def _pad(self, speech: "_Speech", after: int) -> None:
        start, end = speech.piece.start - self._pad_before, speech.piece.end + after
        room = self.max_samples - sum(joined.samples for joined in self._joined)
        if end - start > room:
            if self._joined and (cut := speech.cut_within(start + room)):
                self._joined.append(Piece(start, cut))
                start = cut
            self._close_window()
        self._joined.append(Piece(start, end))

    def _close_window(self) -> None:
        if self._joined:
            self._windows.append(Window(tuple(self._joined)))
        self._joined = []

    def _take_windows(self) -> list[Window]:
        windows, self._windows = self._windows, []
        return windows


@dataclass(frozen=True, slots=True)
class _Speech:
    """A run without its padding, and the probability of each of its frames."""

    piece: Piece
    probabilities: Sequence[float]

    def cut_within(self, end: int) -> int | None:
        """The sample of the best pause before `end`; None if no cut is worth it."""
        least = round(MIN_CUT_SECONDS * SAMPLE_RATE / FRAME_SAMPLES)
        latest = min((end - self.piece.start) // FRAME_SAMPLES, len(self.probabilities) - least)
        if latest - least < CUT_SMOOTHING_FRAMES:
            return None
        at, probability = best_pause(self.probabilities, max(least, latest // 2), latest)
        return self.piece.start + at * FRAME_SAMPLES if probability <= SILENCE_THRESHOLD else None


def quiet_since(before: int | None, probability: float, frame: int) -> int | None:
    """The frame since which a run has paused, or None while somebody speaks. `before` is what it was one frame ago."""
    if probability >= SPEECH_THRESHOLD:
        return None
    return frame if probability < SILENCE_THRESHOLD and before is None else before


def best_pause(run: Sequence[float], first: int, last: int) -> tuple[int, float]:
    """The most silent frame of a run between two frames, and the probability of speech around it."""
    smooth = np.convolve(run[first:last], np.full(CUT_SMOOTHING_FRAMES, 1 / CUT_SMOOTHING_FRAMES), mode="valid")
    at = int(np.argmin(smooth))
    return first + at + CUT_SMOOTHING_FRAMES // 2, float(smooth[at])
