"""The other contenders: faster-whisper and openai-whisper, as their users run them."""

import json
import subprocess
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import av
import numpy as np
from faster_whisper import BatchedInferencePipeline, WhisperModel

from app.audio.pcm import SAMPLE_RATE
from app.speech.whisper.weights import fetch
from proofs.bench.calls import Call, Piece
from proofs.bench.work import BEAM_SIZE, COMPUTE_TYPE, DEVICE, MODEL, Report, Work
from testing.media import write_audio

Segment = tuple[float, str]  # start in seconds, text


def load(models_dir: Path, **options: int) -> WhisperModel:
    return WhisperModel(str(fetch(MODEL, models_dir)), device=DEVICE, compute_type=COMPUTE_TYPE, **options)


def channels_of(call: Call) -> Sequence[Any]:
    """Returns the samples of each channel at 16 kHz. Recordings with more than two channels are mixed to one.

    It decodes as faster-whisper's `decode_audio`, which does not work with PyAV 19, the version for Python 3.12.
    """
    resampler = av.AudioResampler(format="s16p", layout="stereo" if call.channels == 2 else "mono", rate=SAMPLE_RATE)
    with av.open(str(call.path)) as container:
        frames = [part for frame in container.decode(audio=0) for part in resampler.resample(frame)]
    frames += resampler.resample(None)
    samples = np.concatenate([frame.to_ndarray() for frame in frames], axis=1)
    return list(samples.astype(np.float32) / 32768)


def one_by_one(models_dir: Path, calls: Sequence[Call], *, threads: int) -> Work:
    """Runs `WhisperModel.transcribe` on one channel after the other."""
    model = load(models_dir, cpu_threads=threads)

    def work(report: Report) -> None:
        for call in calls:
            report(call, _pieces(call, partial(_listen, model, vad_filter=True)))

    return work


def batched(models_dir: Path, calls: Sequence[Call], *, batch_size: int, workers: int = 1) -> Work:
    """Runs `BatchedInferencePipeline` on one channel after the other, in one file or in several at a time.

    A pipeline keeps state between files, so each file has its own.
    """
    model = load(models_dir, **({"cpu_threads": 1, "num_workers": workers} if workers > 1 else {}))

    def transcribe(call: Call, report: Report) -> None:
        pipeline = BatchedInferencePipeline(model)
        report(call, _pieces(call, partial(_listen, pipeline, batch_size=batch_size)))

    def work(report: Report) -> None:
        with ThreadPoolExecutor(workers) as pool:
            for done in [pool.submit(transcribe, call, report) for call in calls]:
                done.result()

    return work


def command_line(models_dir: Path, calls: Sequence[Call]) -> Work:
    """Runs the command `whisper`, in one process for each channel."""

    def work(report: Report) -> None:
        with TemporaryDirectory() as folder:
            for call in calls:
                report(call, _pieces(call, partial(_run_whisper, Path(folder))))

    return work


def _listen(model: Any, audio: Any, **options: Any) -> list[Segment]:
    segments, _ = model.transcribe(audio, beam_size=BEAM_SIZE, **options)
    return [(segment.start, segment.text) for segment in segments]


def _run_whisper(folder: Path, audio: Any) -> list[Segment]:
    samples = np.ascontiguousarray(audio)[None]
    path = write_audio(folder / "channel.wav", samples, SAMPLE_RATE, container="wav", codec="pcm_s16le")
    options = ["--model", MODEL, "--beam_size", str(BEAM_SIZE), "--fp16", "False", "--verbose", "False"]
    output = ["--output_format", "json", "--output_dir", str(folder)]
    subprocess.run(["whisper", str(path), *options, *output], stdout=subprocess.DEVNULL, check=True)
    said = json.loads(path.with_suffix(".json").read_text())
    return [(segment["start"], segment["text"]) for segment in said["segments"]]


def _pieces(call: Call, transcribe: Callable[[Any], Iterable[Segment]]) -> list[Piece]:
    return [
        Piece(channel, start, text)
        for channel, audio in enumerate(channels_of(call))
        for start, text in transcribe(audio)
    ]
