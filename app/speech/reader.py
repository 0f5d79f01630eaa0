"""Reads one channel in stretches of 20 s: finds its speech, cuts windows, and decides its language.

Windows are prepared one at a time, so that the memory for a channel does not grow with its length.
"""

from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import replace
from math import inf

import numpy as np

from app.audio.pcm import SAMPLE_RATE, PcmFile
from app.speech.call.assemble import ReadChannel
from app.speech.candidates import among, changes, own_language, sure_languages
from app.speech.model import Prepared, Samples
from app.speech.session import PendingWindow, Session
from app.speech.windows.cutting import FRAME_SAMPLES, Piece, Window, WindowFinder
from app.speech.windows.parting import part_at
from app.speech.windows.voice_activity import VoiceActivity
from app.transcripts.transcript import Channel, Span

STRETCH_SAMPLES = 20 * SAMPLE_RATE // FRAME_SAMPLES * FRAME_SAMPLES

# A channel's language is decided after SURE_SECONDS of speech with SURE_SHARE of it in one language, or after
# LANGUAGE_WINDOWS windows, or at the end of the channel.
SURE_SHARE = 0.8
SURE_SECONDS = 5.0
LANGUAGE_WINDOWS = 4


class ChannelScan:
    """Gives the windows of one channel, as a `Source` of the batcher."""

    def __init__(self, job: Session, index: int) -> None:
        self.job = job
        self._index = index
        self._pcm = job.call.channels[index]
        self._samples = self._pcm.samples
        self._is_one_window = job.call.options.is_one_window and (
            0 < self._samples <= job.model.window_seconds * SAMPLE_RATE
        )
        self._read = 0
        self._all_read = False
        self._voice = VoiceActivity()
        self._finder = WindowFinder(job.model.window_seconds * SAMPLE_RATE)
        self._windows: deque[Window] = deque()
        self._language = job.call.options.language if len(job.model.languages) > 1 else job.model.languages[0]
        self._candidates = job.call.options.languages
        self._model_detects = True  # until a window shows that the model detects no languages
        self._votes: dict[str, float] = defaultdict(float)
        self._undecided: list[PendingWindow] = []
        self._now = ""  # the language since the last change; empty before the first one
        self._sure: set[str] = set()

    @property
    def exhausted(self) -> bool:
        return self._all_read and not self._windows

    def advance(self) -> Sequence[PendingWindow]:
        """Prepares the next window. If no window is left, reads the next stretch of the channel first.

        If the client named no language, the first windows are held back until the language is decided.
        """
        if not self._windows:
            self._read_stretch()
        prepared = self._prepare(self._windows.popleft()) if self._windows else []
        if self._language is None and self._model_detects:
            prepared = self._decide(prepared)
        if self.exhausted:
            self.job.channel_read(self._channel())
        return prepared

    def _read_stretch(self) -> None:
        if self._is_one_window:
            self._take_whole()
            return
        samples = self._pcm.read(self._read, STRETCH_SAMPLES)
        windows = self._finder.feed(self._voice.probabilities(samples)) if len(samples) else []
        self._read += len(samples)
        if len(samples) < STRETCH_SAMPLES:
            self._all_read = True
            windows += self._finder.finish(self._samples)
        self._windows.extend(windows)
        self.job.found(windows, len(samples) / SAMPLE_RATE)
        self.job.unread_from(self._index, inf if self._all_read else self._finder.open_from)

    def _take_whole(self) -> None:
        """Takes the whole channel as the window that another service has found."""
        window = Window((Piece(0, self._samples),))
        self._windows.append(window)
        self._all_read = True
        self.job.found([window], window.seconds)
        self.job.unread_from(self._index, inf)

    def _prepare(self, window: Window) -> list[PendingWindow]:
        """The window, or its parts if the language changes inside it."""
        language = self._language and (self._now or self._language)
        request = self.job.request_for(window, language or "", detects=self.job.detects_language)
        prepared = self.job.model.prepare(request, lambda: read_window(self._pcm, window))
        if prepared.languages:
            probabilities = among(self._candidates, prepared.languages)
            self.job.vote(probabilities, window.seconds)
            for language, probability in probabilities.items():
                self._votes[language] += probability * window.seconds
            own = own_language(probabilities, window.seconds) or self._now
            request = replace(request, language=own, language_is_detected=False)
        elif self._language is None:
            self._model_detects = False
        pending = PendingWindow(self.job, self._index, window, replace(request, state=prepared.state))
        return self._parts(pending, prepared) if prepared.stretches else [pending]

    def _parts(self, pending: PendingWindow, prepared: Prepared) -> list[PendingWindow]:
        """The parts of a window, each in its language, or the window as it is."""
        stretches = [among(self._candidates, stretch) for stretch in prepared.stretches]
        self._sure |= sure_languages(stretches)
        before = self._now or self._language or max(self._votes, key=self._votes.__getitem__, default=None)
        if before is None:
            return [pending]
        found = changes(stretches, before, self._sure | ({self._language} if self._language else set()))
        if not found:
            return [pending]
        self._now = found[-1][1]
        if found[0][0] == 0:  # the whole window, or its first part
            (_, before), *found = found
        if not found:
            return [replace(pending, request=replace(pending.request, language=before))]
        window, length = pending.window, pending.window.seconds / len(stretches)
        parts = part_at(window, [index * length for index, _ in found], length / 2, read_window(self._pcm, window))
        self.job.settle(window, None, None, parts)  # its parts will be settled in its place
        languages = [before, *(language for _, language in found)]
        return [self._prepare_part(part, language) for part, language in zip(parts, languages, strict=True)]

    def _prepare_part(self, part: Window, language: str) -> PendingWindow:
        request = self.job.request_for(part, language, detects=False)
        prepared = self.job.model.prepare(request, lambda: read_window(self._pcm, part))
        return PendingWindow(self.job, self._index, part, replace(request, state=prepared.state))

    def _decide(self, prepared: Sequence[PendingWindow]) -> list[PendingWindow]:
        """Decides the channel's language as soon as it is clear, and then returns the windows that were held back.

        Each window counts by its length. If a channel has only a word or two in a doubtful language, it takes the
        likeliest language of the call so far. If the model finds none of the client's candidates in the call, the
        channel takes the first candidate.
        """
        self._undecided += prepared
        likeliest = max(self._votes, key=self._votes.__getitem__, default=None)
        seconds = sum(self._votes.values())
        clear = likeliest is not None and self._votes[likeliest] >= SURE_SHARE * seconds
        enough = seconds >= SURE_SECONDS
        waited_enough = len(self._undecided) >= LANGUAGE_WINDOWS or self.exhausted
        if not (clear and enough) and not waited_enough:
            return []
        first = next(iter(self._candidates), None)
        self._language = likeliest if clear or enough else self.job.likeliest_language() or first
        undecided, self._undecided = self._undecided, []
        return [_with_language(pending, self._language or "") for pending in undecided]

    def _channel(self) -> ReadChannel:
        found = [Piece(0, self._samples)] if self._is_one_window else self._finder.runs
        runs = [Span(run.start / SAMPLE_RATE, run.end / SAMPLE_RATE) for run in found]
        certainty = self._votes[self._language] / sum(self._votes.values()) if self._language in self._votes else None
        channel = Channel(
            index=self._index,
            label=self.job.call.label(self._index),
            language=self._language if runs else None,
            language_probability=None if certainty is None else round(certainty, 4),
            speech_seconds=sum(run.seconds for run in runs),
        )
        return ReadChannel(channel, runs)


def _with_language(pending: PendingWindow, language: str) -> PendingWindow:
    """The window in the language of its channel, unless it has a language of its own."""
    request = pending.request
    return replace(pending, request=replace(request, language=request.language or language))


def read_window(pcm: PcmFile, window: Window) -> Samples:
    """The samples of a window's pieces, joined. Raises OSError."""
    return np.concatenate([pcm.read(piece.start, piece.samples) for piece in window.pieces])
