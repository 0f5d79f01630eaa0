"""Measures the upper limit of CTranslate2: it encodes and generates prepared features, with all cores busy."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import ctranslate2
import numpy as np
from faster_whisper import WhisperModel
from faster_whisper.tokenizer import Tokenizer
from faster_whisper.vad import VadOptions, collect_chunks, get_speech_timestamps
from numpy.typing import NDArray

from app.audio.pcm import SAMPLE_RATE
from app.process.memory import share_memory
from app.speech.whisper.adapter import SILENCE_SECONDS, SMALL_CONTEXTS_SECONDS, shortest_context
from app.speech.whisper.instructions import chosen_instructions
from proofs.bench.calls import Call, Piece
from proofs.bench.rivals import channels_of, load
from proofs.bench.work import BEAM_SIZE, CORES, Report, Work

SPEECH_SECONDS = SMALL_CONTEXTS_SECONDS[-1] - SILENCE_SECONDS
FRAMES_PER_SECOND = 100
MOST_TOKENS = 178  # of a window; more tokens are a loop, which every contender cuts off


@dataclass(frozen=True)
class Window:
    """A stretch of speech on one channel, as input features of the encoder."""

    call: Call
    channel: int
    number: int
    prompt: list[int]
    features: NDArray[np.float32]


def limit(models_dir: Path, calls: Sequence[Call], *, batch_size: int, beam_size: int = BEAM_SIZE) -> Work:
    """Recognizes windows of up to 18 s, in batches, with the same instructions as our engine.

    The context is 15 or 20 s, whichever is the shortest in which a window ends in silence. Languages are known, not
    detected. Results are not checked, not recognized again and not joined. All are reported at the end.
    """
    share_memory()
    with chosen_instructions():
        model = load(models_dir, cpu_threads=1, num_workers=CORES)
    windows = sorted((window for call in calls for window in _windows(model, call)), key=_frames)
    batches = [batch for _, alike in groupby(windows, key=_frames) for batch in _batched(list(alike), batch_size)]

    def work(report: Report) -> None:
        heard: dict[Path, list[Piece]] = defaultdict(list)
        with ThreadPoolExecutor(CORES) as pool:
            for batch, texts in zip(batches, pool.map(partial(_recognize, model, beam_size), batches), strict=True):
                for window, text in zip(batch, texts, strict=True):
                    heard[window.call.path].append(Piece(window.channel, window.number * SPEECH_SECONDS, text))
        for call in calls:
            report(call, heard[call.path])

    return work


def _windows(model: WhisperModel, call: Call) -> list[Window]:
    activity = VadOptions(min_silence_duration_ms=500, max_speech_duration_s=SPEECH_SECONDS)
    tokenizer = _tokenizer(model, call.language or "en")
    prompt = model.get_prompt(tokenizer, [], without_timestamps=True)
    windows = []
    for channel, audio in enumerate(channels_of(call)):
        if speech := get_speech_timestamps(audio, activity):
            parts, _ = collect_chunks(audio, speech, max_duration=SPEECH_SECONDS)
            windows += [
                Window(call, channel, number, prompt, _features(model, part)) for number, part in enumerate(parts)
            ]
    return windows


def _features(model: WhisperModel, speech: NDArray[np.float32]) -> NDArray[np.float32]:
    context = shortest_context(SMALL_CONTEXTS_SECONDS, len(speech) / SAMPLE_RATE)
    padded = np.pad(speech, (0, max(0, context * SAMPLE_RATE - len(speech))))
    return np.ascontiguousarray(model.feature_extractor(padded)[:, : context * FRAMES_PER_SECOND])


def _frames(window: Window) -> int:
    return len(window.features[0])


def _batched(windows: Sequence[Window], batch_size: int) -> Iterator[Sequence[Window]]:
    for start in range(0, len(windows), batch_size):
        yield windows[start : start + batch_size]


def _recognize(model: WhisperModel, beam_size: int, batch: Sequence[Window]) -> list[str]:
    """Returns the text of each window.

    Windows are encoded one at a time, because this takes less memory and is no slower on a CPU.
    """
    encoded = np.concatenate([np.asarray(model.encode(window.features)) for window in batch])
    results = model.model.generate(
        ctranslate2.StorageView.from_array(encoded),
        [window.prompt for window in batch],
        beam_size=beam_size,
        max_length=MOST_TOKENS,
    )
    tokenizer = _tokenizer(model, "en")
    return [tokenizer.decode(result.sequences_ids[0]) for result in results]


def _tokenizer(model: WhisperModel, language: str) -> Any:
    return Tokenizer(model.hf_tokenizer, multilingual=True, task="transcribe", language=language)
