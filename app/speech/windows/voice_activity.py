"""Finds speech with Silero, a network that hears frames of a channel one after the other.

The network is `silero.onnx`, which `scripts/silero.py` writes.
"""

import os
from collections.abc import Iterator
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from app.audio.pcm import SAMPLE_RATE
from app.speech.windows.cutting import FRAME_SAMPLES

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # or ONNX Runtime, on which Silero runs, would report to its maker

NETWORK = Path(__file__).with_name("silero.onnx")
CONTEXT_SAMPLES = 64  # of the frame before, which Silero hears with each frame
MEMORY_SIZE = 128
MOST_FRAMES = 100  # in one call of the network; more are slower, because they do not fit into the processor's cache

# After a long silence, which is common on a channel of a call, Silero's memory makes it miss the words that follow.
# Without memory it misses other words, and takes music for speech.
SILENT_FRAMES = round(0.8 * SAMPLE_RATE / FRAME_SAMPLES)
PAUSE_RMS = 10 ** (-55 / 20)  # below this level there is no speech, but a telephone line may hum
# Samples that differ by no more hold no sound: they are what is left of a constant value after it is resampled. Silero
# is not needed there. A limit by loudness would be wrong, because Silero finds the speech of very faint recordings too.
NO_SOUND = 4 / 32768

Sound = Literal["none", "pause", "sound"]


class VoiceActivity:
    """Silero on one channel. It remembers earlier frames, so that the channel can be read in stretches.

    Silero has two memories. One of them is cleared at each silence. What is speech by one of the two is speech. On a
    real call, Silero finds 83 % of a customer's sound with the first memory alone, and 91 % with both.
    """

    def __init__(self) -> None:
        self._last = np.zeros(CONTEXT_SAMPLES, np.float32)
        self._hidden, self._cell = (np.zeros((1, 2, MEMORY_SIZE), np.float32) for _ in range(2))

    def probabilities(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """The speech probability of each frame. All stretches except the last must hold whole frames."""
        if missing := -len(samples) % FRAME_SAMPLES:
            samples = np.pad(samples, (0, missing))
        frames = samples.reshape(-1, FRAME_SAMPLES)
        heard = np.hstack([np.vstack([self._last, frames[:-1, -CONTEXT_SAMPLES:]]), frames])
        self._last = frames[-1, -CONTEXT_SAMPLES:].copy()
        found = np.zeros(len(frames), np.float32)
        for stretch, sound in _stretches(frames):
            if sound != "none":
                found[stretch] = self._hear(heard[stretch])
            if sound != "sound":
                self._hidden[:, 1] = self._cell[:, 1] = 0
        return found

    def _hear(self, frames: NDArray[np.float32]) -> NDArray[np.float32]:
        inputs = {"frames": frames, "hidden": self._hidden, "cell": self._cell}
        probabilities, self._hidden, self._cell = _session().run(None, inputs)
        return np.asarray(probabilities.max(axis=1), np.float32)


def _stretches(frames: NDArray[np.float32]) -> Iterator[tuple[slice, Sound]]:
    """Divides frames into stretches of one kind of sound, each small enough for one call of the network."""
    pieces = [slice(at, min(at + SILENT_FRAMES, len(frames))) for at in range(0, len(frames), SILENT_FRAMES)]
    kinds = [(_sound_of(frames[piece]), piece) for piece in pieces]
    for sound, of_kind in groupby(kinds, key=lambda kind: kind[0]):
        same = [piece for _, piece in of_kind]
        together = MOST_FRAMES // SILENT_FRAMES if sound == "sound" else 1  # a memory is cleared after each pause
        for first in range(0, len(same), together):
            part = same[first : first + together]
            yield slice(part[0].start, part[-1].stop), sound


def _sound_of(frames: NDArray[np.float32]) -> Sound:
    if np.ptp(frames) <= NO_SOUND:
        return "none"
    return "pause" if np.std(frames) < PAUSE_RMS else "sound"


def load() -> None:
    """Loads Silero and runs it once. Do not call it on an event loop, because it takes long."""
    VoiceActivity().probabilities(np.tile(np.array([0.5, -0.5], np.float32), FRAME_SAMPLES // 2))


@cache
def _session() -> Any:
    import onnxruntime  # slow to import, and the environment above must be set before

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1  # the caller's thread does all the work
    options.enable_cpu_mem_arena = False  # it would keep the memory of each thread's largest call
    return onnxruntime.InferenceSession(NETWORK, options, providers=["CPUExecutionProvider"])
