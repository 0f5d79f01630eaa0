"""A loaded engine, and recordings composed from speech, silence and noise."""

from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from app.audio.pcm import SAMPLE_RATE, PcmFile
from app.speech.engine import Engine, EngineConfig
from tests.speech_samples import Sample

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
    """Writes samples, one part after the other, as a channel."""

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
