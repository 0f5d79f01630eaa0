"""Steps on the model without the engine: the whole path of one window, and batches of growing size.

They go through the same calls as the engine, and measure each of the calls to CTranslate2 by itself.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from faster_whisper.vad import VadOptions, collect_chunks, get_speech_timestamps

from app.audio.pcm import SAMPLE_RATE
from app.errors import GpuOutOfMemory
from app.speech.gpu import Driver
from app.speech.model import Recognized, Samples, WindowRequest
from app.speech.whisper import recognizing
from app.speech.whisper.device import find_device
from app.speech.whisper.instructions import chosen_instructions
from app.speech.whisper.recognizing import WhisperRecognizer
from app.speech.whisper.weights import fetch
from app.transcripts.transcript import Options
from proofs.bench.calls import Call
from proofs.bench.rivals import channels_of
from proofs.gpu.driver import peak_memory
from proofs.gpu.plan import Plan, Result

CALLS = ("encode", "detect_languages", "recognize", "align")
MOST_WINDOWS = 128  # of a size that are measured

Window = tuple[WindowRequest, Samples]


class Clock:
    """Counts the milliseconds in each call to CTranslate2."""

    def __init__(self, whisper: Any) -> None:
        self.milliseconds: dict[str, float] = defaultdict(float)
        self.encoded: Any = None
        for name in CALLS:
            setattr(whisper, name, self._timed(name, getattr(whisper, name)))

    def reset(self) -> None:
        self.milliseconds.clear()

    def _timed(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any, **options: Any) -> Any:
            started = time.perf_counter()
            try:
                result = call(*arguments, **options)
            finally:
                self.milliseconds[name] += 1000 * (time.perf_counter() - started)
            if name == "encode":
                self.encoded = result
            return result

        return timed


def whole_path(plan: Plan) -> Iterator[Result]:
    """Loads the model, and takes one window through every call that the service makes."""
    driver = Driver() if plan.on_gpu else None
    started = time.perf_counter()
    with peak_memory(driver, plan.gpu) as memory:
        recognizer = _load(plan)
        load_seconds = time.perf_counter() - started
        clock = Clock(recognizer.whisper)
        [(request, samples), *_] = _windows(plan, plan.calls()[:1], recognizer.window_seconds)
        prepared = recognizer.prepare(replace(request, language=""), lambda: samples)
        languages = prepared.languages or {request.language: 1.0}
        language = max(languages, key=languages.__getitem__)
        [answer] = recognizer.recognize([(replace(request, language=language, state=prepared.state), samples)])
        view = clock.encoded.joined
    heard = answer if isinstance(answer, Recognized) else None
    yield {
        "load s": load_seconds,
        "width": recognizer.whisper.width,
        **{f"{name} ms": clock.milliseconds[name] for name in CALLS},
        "encoded": f"{view.device} {str(view.dtype).rpartition('.')[2]} {list(view.shape)}",
        "language": language,
        "words": len(heard.words or ()) if heard else 0,
        "GPU MiB": memory.peak_mib,
        "text": heard.text if heard else type(answer).__name__,
    }


def batches(plan: Plan) -> Iterator[Result]:
    """Recognizes the same windows in batches of each size, until the memory does not suffice.

    `x` is seconds of speech per second of one thread that does nothing else, so it is the limit of the engine.
    """
    driver = Driver() if plan.on_gpu else None
    recognizer = _load(plan)
    clock = Clock(recognizer.whisper)
    windows = _of_one_kind(recognizer, _windows(plan, plan.calls(), recognizer.window_seconds))
    for size in plan.sizes:
        count = size * max(1, min(MOST_WINDOWS, len(windows)) // size)
        taken = [windows[number % len(windows)] for number in range(count)]
        try:
            with peak_memory(driver, plan.gpu) as memory:
                recognizer.recognize(taken[:size])  # the first batch of a size loads kernels
                clock.reset()
                started = time.perf_counter()
                for start in range(0, count, size):
                    recognizer.recognize(taken[start : start + size])
                seconds = time.perf_counter() - started
        except GpuOutOfMemory:
            yield {"batch": size, "x": None, "GPU MiB": None, "note": "does not fit"}
            return
        yield {
            "batch": size,
            "x": sum(request.seconds for request, _ in taken) / seconds,
            "ms a window": 1000 * seconds / count,
            **{name: clock.milliseconds[name] / count for name in CALLS},
            "GPU MiB": memory.peak_mib,
        }


def _load(plan: Plan) -> WhisperRecognizer:
    folder = fetch(plan.model, plan.models_dir)
    with chosen_instructions():
        return recognizing.load(folder, find_device(plan.choice), plan.choice.beam_size)


def _of_one_kind(recognizer: WhisperRecognizer, windows: Sequence[Window]) -> list[Window]:
    """The windows of the most frequent kind, because only windows of one kind may be in the same batch."""
    kinds = [recognizer.kind(request) for request, _ in windows]
    [(usual, _)] = Counter(kinds).most_common(1)
    return [window for window, kind in zip(windows, kinds, strict=True) if kind == usual]


def _windows(plan: Plan, calls: Sequence[Call], longest_seconds: float) -> list[Window]:
    """Stretches of speech of each channel, joined up to the length of a window."""
    activity = VadOptions(min_silence_duration_ms=500, max_speech_duration_s=longest_seconds)
    windows: list[Window] = []
    for call in calls:
        for audio in channels_of(call):
            if speech := get_speech_timestamps(audio, activity):
                parts, _ = collect_chunks(audio, speech, max_duration=longest_seconds)
                windows += [(_request(plan, call, part), part) for part in parts]
    return windows


def _request(plan: Plan, call: Call, samples: Samples) -> WindowRequest:
    return WindowRequest(Options(plan.model), len(samples) / SAMPLE_RATE, call.language or "en", True)
