"""Reads a channel a stretch at a time: voice activity, windows, and the language spoken."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from app.audio.pcm import SAMPLE_RATE, PcmFile
from app.speech.quality import tries
from app.speech.recording import PendingWindow, Recording
from app.speech.transcript import Channel
from app.speech.whisper import Encoded, Samples, VoiceActivity
from app.speech.windows import FRAME_SAMPLES, Window, WindowFinder

STRETCH_SAMPLES = 90 * SAMPLE_RATE // FRAME_SAMPLES * FRAME_SAMPLES
LANGUAGE_WINDOWS = 4


class ChannelScan:
    """A source of a channel's windows, in memory that does not grow with the recording."""

    def __init__(self, job: Recording, index: int) -> None:
        self.job = job
        self.exhausted = False
        self._index = index
        self._pcm = job.channels[index]
        self._samples = self._pcm.samples
        self._read = 0
        self._voice = VoiceActivity()
        self._finder = WindowFinder(job.whisper.window_seconds * SAMPLE_RATE)
        self._language = job.options.language if job.whisper.multilingual else "en"
        self._probability: float | None = None

    def advance(self) -> Sequence[PendingWindow]:
        """Reads a stretch. The first windows found decide on the language, if the client gave none."""
        samples = self._pcm.read(self._read, STRETCH_SAMPLES)
        windows = self._finder.feed(self._voice.probabilities(samples)) if len(samples) else []
        self._read += len(samples)
        if len(samples) < STRETCH_SAMPLES:
            self.exhausted = True
            windows += self._finder.finish(self._samples)
        encodings = self._detect(windows[:LANGUAGE_WINDOWS]) if windows and self._language is None else []
        pending = [self._pending(window) for window in windows]
        for at, encoded in enumerate(encodings):
            pending[at] = replace(pending[at], encoded=encoded)
        self.job.found(windows, len(samples) / SAMPLE_RATE)
        if self.exhausted:
            self.job.channel_read(self._channel())
        return pending

    def _detect(self, windows: Sequence[Window]) -> list[Encoded]:
        """Takes the language that is likeliest over windows that count by their length.

        Gives what the encoder made of them, if that can be kept for decoding.
        """
        whisper, votes, encodings = self.job.whisper, defaultdict[str, float](float), []
        for window in windows:
            encoded = whisper.encode([read_window(self._pcm, window)], whisper.context_seconds)
            encodings.append(encoded)
            for language, probability in whisper.detect_languages(encoded)[0].items():
                votes[language] += probability * window.seconds
        self._language = max(votes, key=votes.__getitem__)
        self._probability = round(votes[self._language] / sum(votes.values()), 4)
        return encodings if whisper.keeps_encodings else []

    def _pending(self, window: Window) -> PendingWindow:
        assert self._language
        return PendingWindow(
            job=self.job,
            channel=self._index,
            window=window,
            language=self._language,
            detected=self._probability is not None,
            ways=tries(self.job.whisper.context_seconds, prompted=bool(self.job.bias.strip())),
        )

    def _channel(self) -> Channel:
        speech_seconds = self._finder.speech_samples / SAMPLE_RATE
        return Channel(
            index=self._index,
            label=self.job.label(self._index),
            language=self._language if speech_seconds else None,
            language_probability=self._probability,
            speech_seconds=round(speech_seconds, 2),
        )


def read_window(pcm: PcmFile, window: Window) -> Samples:
    """The samples of a window's pieces, joined."""
    return np.concatenate([pcm.read(piece.start, piece.samples) for piece in window.pieces])
