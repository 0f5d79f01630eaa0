"""A loaded engine, and recordings composed from speech, silence and noise."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from app.audio.pcm import SAMPLE_RATE, PcmFile
from app.speech.engine import Engine, EngineConfig
from app.speech.speakers.voices import VoiceTurn
from app.transcripts.transcript import Span
from testing.speech_samples import Sample

Samples = NDArray[np.float32]
Record = Callable[..., PcmFile]


@pytest.fixture(scope="session")
def models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="session")
def config(models_dir: Path) -> EngineConfig:
    return EngineConfig(models=("base", "tiny.en"), models_dir=models_dir)


@pytest.fixture(scope="session")
def engine(config: EngineConfig) -> Iterator[Engine]:
    """`base` and `tiny.en`, loaded once."""
    engine = Engine(config)
    engine.load()
    yield engine
    engine.close()


@pytest.fixture
def record(tmp_path: Path) -> Record:
    """Writes the parts, one after the other, as the file of one channel."""

    def write(*parts: Samples) -> PcmFile:
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.pcm"
        (np.concatenate(parts) * 32767).astype("<i2").tofile(path)
        return PcmFile(path)

    return write


def speech(sample: Sample) -> Samples:
    """A sample of one channel at the engine's rate, in −1…1."""
    channel: Samples = decoded(sample.path)[0]
    return channel


def decoded(path: Path) -> Samples:
    """A recording at the engine's rate, in −1…1: (channels, samples)."""
    resampler = av.AudioResampler(format="fltp", rate=SAMPLE_RATE)
    with av.open(str(path)) as container:
        frames = [part for frame in container.decode(audio=0) for part in resampler.resample(frame)]
    frames += resampler.resample(None)
    return np.concatenate([frame.to_ndarray() for frame in frames], axis=1).astype(np.float32, copy=False)


def silence(seconds: float) -> Samples:
    return np.zeros(round(seconds * SAMPLE_RATE), np.float32)


def noise(seconds: float) -> Samples:
    return np.random.default_rng(7).normal(0, 0.05, round(seconds * SAMPLE_RATE)).astype(np.float32)


def ringing(seconds: float) -> Samples:
    """The North American ringing tone: 440 and 480 Hz, two seconds of every six."""
    at = _times(seconds)
    return np.where(at % 6 < 2, 0.2 * (_tone(440, at) + _tone(480, at)), 0).astype(np.float32)


def hold_music(seconds: float) -> Samples:
    """A melody with vibrato over broken chords, every note with its harmonics."""
    at, random = _times(seconds), np.random.default_rng(7)
    beat = (at / 0.6).astype(int)
    melody = 392 * 2 ** (random.choice([0, 2, 4, 5, 7, 9, 11, 12], beat[-1] + 1)[beat] / 12)
    bass = 196 * 2 ** (np.array([0, 4, 7, 9, 12, 16, 5, 9])[beat % 8] / 12)
    fading = np.exp(-2 * (at % 0.6))
    voices = [(0.12, melody * (1 + 0.004 * _tone(5.5, at))), (0.08, bass)]
    played = sum(
        loudness / harmonic * np.sin(2 * np.pi * harmonic * np.cumsum(hertz) / SAMPLE_RATE)
        for loudness, hertz in voices
        for harmonic in range(1, 7)
    )
    return (fading * played).astype(np.float32)


def telephone(samples: Samples) -> Samples:
    """The samples after 8 kHz μ-law, as a telephone line carries them."""
    narrow = samples[::2]
    levels = np.round(np.sign(narrow) * np.log1p(255 * np.abs(narrow)) / np.log(256) * 127) / 127
    wide: Samples = np.repeat(np.sign(levels) * np.expm1(np.abs(levels) * np.log(256)) / 255, 2).astype(np.float32)
    return wide


def _times(seconds: float) -> NDArray[np.float64]:
    return np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE


def _tone(hertz: float, at: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.sin(2 * np.pi * hertz * at)


class KnownVoices:
    """Stands for the models of voices, and knows who speaks when. It notes how many speakers it was asked for."""

    def __init__(self, *turns: VoiceTurn) -> None:
        self._turns = turns
        self.asked: list[tuple[int, int | None]] = []

    def separate(
        self, pcm: PcmFile, runs: Sequence[Span], most: int = 2, exact: int | None = None
    ) -> Sequence[VoiceTurn]:
        self.asked.append((most, exact))
        return self._turns
