"""Half minutes of reference speech, and the telephone lines that they are sent over."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import av
import numpy as np
from numpy.random import Generator

from proofs.bench.compose import SPEECH_LEVEL
from proofs.bench.sources import RATE, Samples, sentences
from testing.media import write_audio

RECORDING_SECONDS = 30.0
PAUSE = np.zeros(RATE // 2, np.float32)


@dataclass(frozen=True)
class Recording:
    """Sentences of one language, one after the other; samples in −1…1 at RATE, each sentence at SPEECH_LEVEL."""

    language: str
    text: str
    speech: Samples


@dataclass(frozen=True)
class Line:
    """What happens to speech on its way, and what it is stored as: a container and a codec that PyAV can write."""

    spoil: Callable[[Samples, Generator], Samples] = lambda speech, chance: speech
    container: str = "wav"
    codec: str = "pcm_mulaw"

    def send(self, speech: Samples, chance: Generator, folder: Path) -> Samples:
        """What is decoded at the other end, at RATE."""
        spoilt = np.clip(self.spoil(speech, chance), -1, 1)[None]
        path = write_audio(folder / "sent", spoilt, RATE, container=self.container, codec=self.codec)
        floats = av.AudioResampler(format="fltp", rate=RATE)
        with av.open(str(path)) as stored:
            frames = [part for frame in stored.decode(audio=0) for part in floats.resample(frame)]
        return np.concatenate([frame.to_ndarray()[0] for frame in frames])


def _gain(decibels: float) -> Callable[[Samples, Generator], Samples]:
    return lambda speech, chance: speech * np.float32(10 ** (decibels / 20))


def _noise(speech: Samples, chance: Generator) -> Samples:
    return speech + chance.normal(0, SPEECH_LEVEL * 10 ** (-15 / 20), len(speech)).astype(np.float32)


def _hum(speech: Samples, chance: Generator) -> Samples:
    time = np.arange(len(speech)) / RATE
    tones = sum(np.sin(2 * np.pi * 50 * part * time) / part for part in (1, 2, 3))
    return speech + np.asarray(SPEECH_LEVEL * tones, np.float32)


LINES = {
    "μ-law": Line(),
    "noise 15 dB": Line(_noise),
    "−30 dB": Line(_gain(-30)),
    "clipped": Line(_gain(20)),
    "hum": Line(_hum),
    "AMR 12.2": Line(container="amr", codec="libopencore_amrnb"),
    "G.723.1": Line(codec="g723_1"),
}


def recordings() -> Iterator[Recording]:
    """All sentences of bench.sources, in a stable order."""
    ordered = sorted(sentences()[0], key=lambda each: each.language)
    for language, spoken in groupby(ordered, key=lambda each: each.language):
        texts: list[str] = []
        parts: list[Samples] = []
        for said in spoken:
            texts.append(said.text)
            level = float(np.sqrt(np.mean(said.samples**2)))
            parts += [said.samples * np.float32(SPEECH_LEVEL / level), PAUSE]
            if sum(map(len, parts)) >= RECORDING_SECONDS * RATE:
                yield Recording(language, " ".join(texts), np.concatenate(parts))
                texts, parts = [], []
        if parts:
            yield Recording(language, " ".join(texts), np.concatenate(parts))
