"""Moonshine: an encoder hears a window, and a decoder writes its text, one token after the other.

Both run in ONNX Runtime, in the thread that calls. Any number of threads may call at the same time.
"""

import os
from collections.abc import Iterator, Sequence
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.audio.pcm import SAMPLE_RATE
from app.speech.model import Samples, TextRequest, Written
from app.speech.moonshine.weights import DECODER, ENCODER, VOCABULARY

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # or ONNX Runtime would report to its maker

Tensor = NDArray[np.float32]

START, END = 1, 2  # tokens
TOKENS_A_SECOND = 6.5  # Moonshine's limit for English; only a loop writes more
SHORTEST_SAMPLES = SAMPLE_RATE // 10  # the encoder fails on shorter windows
HEADS, HEAD_SIZE = 8, 52
FRAME_SAMPLES = SAMPLE_RATE // 10
SPACE = "\u2581"


class Moonshine:
    """A `TextModel` for English. It writes one window after the other, because its encoder cannot skip padding."""

    window_seconds = 28
    languages: Sequence[str] = ("en",)

    def __init__(self, encoder: Any, decoder: Any, first_run: Any, vocabulary: Sequence[bytes]) -> None:
        self._encoder = encoder
        self._decoder = decoder
        self._first_run = first_run  # the options of a window's first run
        self._vocabulary = vocabulary
        self._pasts = [each.name for each in decoder.get_inputs() if each.name.startswith("past_key_values")]

    def write(self, batch: Sequence[tuple[TextRequest, Samples]]) -> Sequence[Written]:
        return [Written(self._again(samples) if request.attempt else self._text(samples)) for request, samples in batch]

    def _again(self, samples: Samples) -> str:
        """The text of the two halves, because the same window would get the same text again."""
        return " ".join(filter(None, map(self._text, halves(samples))))

    def _text(self, samples: Samples) -> str:
        limit = ceil(TOKENS_A_SECOND * max(1, len(samples) / SAMPLE_RATE))
        if (missing := SHORTEST_SAMPLES - len(samples)) > 0:
            samples = np.pad(samples, (0, missing))
        (heard,) = self._encoder.run(None, {"input_values": samples[np.newaxis]})
        written = b"".join(self._vocabulary[token] for token in self._tokens(heard, limit))
        return written.decode(errors="replace").replace(SPACE, " ").strip()

    def _tokens(self, heard: Tensor, limit: int) -> Iterator[int]:
        """The most probable tokens. What the decoder makes of `heard` in the first step is used again in the others."""
        past = dict.fromkeys(self._pasts, np.zeros((1, HEADS, 0, HEAD_SIZE), np.float32))
        token = START
        for step in range(limit):
            inputs = {
                "input_ids": np.array([[token]]),
                "encoder_hidden_states": heard,
                "use_cache_branch": np.array([step > 0]),
            }
            logits, *present = self._decoder.run(None, inputs | past, None if step else self._first_run)
            past |= {
                name: value
                for name, value in zip(self._pasts, present, strict=True)
                if step == 0 or ".decoder." in name
            }
            token = int(logits[0, -1].argmax())
            if token == END:
                return
            yield token


def halves(samples: Samples) -> tuple[Samples, Samples]:
    """Cuts a window where it is quietest in the middle third."""
    frames = len(samples) // FRAME_SAMPLES
    if frames < 3:
        return samples, samples[:0]
    first, last = frames // 3, frames - frames // 3
    middle = samples[first * FRAME_SAMPLES : last * FRAME_SAMPLES].reshape(-1, FRAME_SAMPLES)
    cut = (first + int((middle**2).sum(axis=1).argmin())) * FRAME_SAMPLES + FRAME_SAMPLES // 2
    return samples[:cut], samples[cut:]


def load(folder: Path) -> Moonshine:
    """Loads the model and runs it once. Blocks."""
    import onnxruntime  # the environment above must be set before

    # The decoder unpacks its weights at each step. Memory that it keeps makes it twice as fast, but that is not so of
    # the encoder. Each window begins with returning what is free, because windows of different lengths need different
    # pieces, and would add up.
    returning = onnxruntime.RunOptions()
    returning.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
    model = Moonshine(
        _session(folder / ENCODER, keeps_memory=False),
        _session(folder / DECODER, keeps_memory=True),
        returning,
        _vocabulary((folder / VOCABULARY).read_bytes()),
    )
    model.write([(TextRequest("en"), np.zeros(SAMPLE_RATE, np.float32))])
    return model


def _session(file: Path, keeps_memory: bool) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1  # the caller's thread does all the work
    options.enable_cpu_mem_arena = keeps_memory
    return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])


def _vocabulary(raw: bytes) -> list[bytes]:
    """The text of each token, which follows its length. A length of 128 or more has a second byte, which counts 128."""
    found, at = [], 0
    while at < len(raw):
        length, at = raw[at], at + 1
        if length >= 128:
            length, at = length - 128 + raw[at] * 128, at + 1
        found.append(raw[at : at + length])
        at += length
    return found
