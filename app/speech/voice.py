"""Silero's voice activity, as faster-whisper ships it."""

import os

import numpy as np
from faster_whisper.vad import get_vad_model
from numpy.typing import NDArray

from app.speech.windows import FRAME_SAMPLES

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # ONNX Runtime, which Silero runs on, would report to its maker


class VoiceActivity:
    """Silero on one channel: remembers what it heard, so that stretches may be given one after the other."""

    def __init__(self) -> None:
        self._session = get_vad_model().session
        self._hidden = np.zeros((1, 1, 128), np.float32)
        self._cell = np.zeros((1, 1, 128), np.float32)
        self._last = np.zeros(64, np.float32)

    def probabilities(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Speech probability of each frame. All stretches but the last hold whole frames."""
        frames = np.pad(samples, (0, -len(samples) % FRAME_SAMPLES)).reshape(-1, FRAME_SAMPLES)
        before = np.vstack([self._last, frames[:-1, -64:]])
        self._last = frames[-1, -64:]
        inputs = {"input": np.hstack([before, frames]), "h": self._hidden, "c": self._cell}
        probabilities, self._hidden, self._cell = self._session.run(None, inputs)
        return np.asarray(probabilities, np.float32)


def load() -> None:
    """Loads Silero, which takes too long for an event loop, and runs it once."""
    VoiceActivity().probabilities(np.zeros(FRAME_SAMPLES, np.float32))
