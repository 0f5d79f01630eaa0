"""Steps with the whole engine: its speed, its text, the latency of one call, and a GPU without enough memory."""

import asyncio
import json
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import psutil

from app.audio.decode import decode
from app.audio.pcm import PcmFile
from app.process.memory import share_memory
from app.speech.engine import Engine, EngineConfig
from app.speech.whisper import gpu_table
from app.transcripts.transcript import Options, Transcript
from proofs.bench.calls import Call, Piece, channel_seconds
from proofs.bench.measure import Meter
from proofs.bench.results import percentile
from proofs.bench.scoring import error_rate
from proofs.gpu.driver import HoldingDriver, peak_memory
from proofs.gpu.plan import Plan, Result

TEXTS = "processor.json"  # what the processor wrote, which other runs are compared with
LATENCY_CALLS = 5
USUAL_CALL_SECONDS = 60
SHARE_THAT_FITS = 0.55  # of what a full batch needs: half a batch fits, and a full one does not

Recording = tuple[Call, Sequence[PcmFile]]
Heard = dict[str, list[Piece]]


def speed(plan: Plan) -> Iterator[Result]:
    """Transcribes all calls at the same time, each `copies` times, so that large batches are full too."""
    driver = HoldingDriver() if plan.on_gpu else None
    calls = plan.calls()
    with TemporaryDirectory() as folder, peak_memory(driver, plan.gpu) as memory:
        engine = _engine(plan)
        recordings = asyncio.run(_decoded(calls, Path(folder)))
        if plan.on_gpu:
            asyncio.run(_transcribe(engine, recordings, plan.model))  # the first batches load kernels
        with Meter([psutil.Process()]) as meter:
            heard, latencies = asyncio.run(_transcribe(engine, recordings * plan.copies, plan.model))
    audio_seconds = channel_seconds(calls) * plan.copies
    if not plan.on_gpu:
        _keep(heard, plan.folder / TEXTS)
    yield {
        "x": audio_seconds / meter.wall_seconds,
        "CPU s per s": meter.cpu_seconds / audio_seconds,
        "p50 s": percentile(latencies, 0.5),
        "p95 s": percentile(latencies, 0.95),
        "peak MiB": meter.peak_mib,
        "GPU MiB": memory.peak_mib,
        "WER": error_rate(calls, heard),
        "differs from CPU": _difference(calls, heard, plan.folder / TEXTS),
    }


def latency(plan: Plan) -> Iterator[Result]:
    """Transcribes one call of about a minute by itself, several times."""
    call = min(plan.calls(), key=lambda each: abs(each.seconds - USUAL_CALL_SECONDS))
    with TemporaryDirectory() as folder:
        engine = _engine(plan)
        recordings = asyncio.run(_decoded([call], Path(folder)))
        found = [asyncio.run(_transcribe(engine, recordings, plan.model))[1][0] for _ in range(LATENCY_CALLS + 1)]
    measured = found[1:]  # the first call loads kernels
    yield {"call s": call.seconds, "channels": call.channels, "median s": median(measured), "slowest s": max(measured)}


def lack(plan: Plan) -> Iterator[Result]:
    """Transcribes all calls while another holder of memory leaves too little for a full batch; then without it.

    `needed_mib` is what full batches took. The batches are halved until they fit, and no text may be lost.
    """
    driver = HoldingDriver()
    with TemporaryDirectory() as folder:
        engine = _engine(plan)
        recordings = asyncio.run(_decoded(plan.calls(), Path(folder)))
        leave = plan.needed_mib * SHARE_THAT_FITS
        with driver.holding(plan.gpu, max(0.0, driver.free_mib(plan.gpu) - leave)):
            result = _under_lack(engine, recordings, plan)
        yield {"while": f"{leave:.0f} MiB were free", **result}
        if result["batches that did not fit"] == "none":
            raise RuntimeError("every batch fitted, so no batch had to be halved")
        yield {"while": "all memory was free again", **_under_lack(engine, recordings, plan)}


def _under_lack(engine: Engine, recordings: list[Recording], plan: Plan) -> Result:
    calls = [call for call, _ in recordings]
    with _counting() as failed:
        heard, latencies = asyncio.run(_transcribe(engine, recordings * plan.copies, plan.model))
    return {
        "transcripts": len(latencies),
        "batches that did not fit": str(failed) if failed else "none",
        "WER": error_rate(calls, heard),
        "differs from CPU": _difference(calls, heard, plan.folder / TEXTS),
        "engine lives": engine.ready,
    }


@contextmanager
def _counting() -> Iterator[list[int]]:
    """The sizes of the batches that the engine reports as failed."""
    sizes: list[int] = []

    class Counter(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.getMessage() == "speech.recognize_failed":
                sizes.append(int(getattr(record, "items", 0)))

    handler, logger = Counter(), logging.getLogger("app.speech")
    logger.addHandler(handler)
    try:
        yield sizes
    finally:
        logger.removeHandler(handler)


def _engine(plan: Plan) -> Engine:
    share_memory()
    if plan.threads is not None:
        _use_threads(plan)
    engine = Engine(
        EngineConfig(
            models=(plan.model,),
            models_dir=plan.models_dir,
            device=plan.device,
            device_index=plan.indexes,
            compute_type=plan.compute_type,
            batch_size=plan.batch_size,
        )
    )
    engine.load()
    return engine


def _use_threads(plan: Plan) -> None:
    """Gives this process a table of decisions with another number of threads, in a file of its own."""
    table = gpu_table.read()
    rows = [replace(row, threads=plan.threads or row.threads) for row in table.rows]
    gpu_table.TABLE = plan.folder / f"threads-{plan.threads}.json"
    gpu_table.write(replace(table, rows=rows), gpu_table.TABLE)


async def _decoded(calls: Sequence[Call], folder: Path) -> list[Recording]:
    """Decodes before anything is measured, so that the figures are those of the engine."""

    async def decoded(number: int, call: Call) -> Recording:
        own = folder / str(number)
        own.mkdir()
        audio = await decode(call.path, own, split=True, max_seconds=call.seconds + 60)
        return call, audio.channels

    return list(await asyncio.gather(*(decoded(number, call) for number, call in enumerate(calls))))


async def _transcribe(engine: Engine, recordings: list[Recording], model: str) -> tuple[Heard, list[float]]:
    started = time.perf_counter()

    async def transcribe(recording: Recording) -> tuple[str, Transcript, float]:
        call, channels = recording
        transcript = await engine.transcribe(channels, Options(model, channels="split"), on_progress=lambda done: None)
        return call.path.name, transcript, time.perf_counter() - started

    done = await asyncio.gather(*map(transcribe, recordings))
    heard = {
        name: [Piece(segment.channel, segment.start, segment.text) for segment in transcript.segments]
        for name, transcript, _ in done
    }
    return heard, [seconds for _, _, seconds in done]


def _keep(heard: Heard, path: Path) -> None:
    rows = {name: [[each.channel, each.start, each.text] for each in pieces] for name, pieces in heard.items()}
    path.write_text(json.dumps(rows))


def _difference(calls: Sequence[Call], heard: Heard, texts: Path) -> float | None:
    """The word error rate against what the processor wrote; None if no step ran on the processor."""
    if not texts.exists():
        return None
    written = {name: [Piece(*piece) for piece in pieces] for name, pieces in json.loads(texts.read_text()).items()}
    compared = [replace(call, texts=_by_channel(written[call.path.name], call.channels)) for call in calls]
    return error_rate(compared, heard)


def _by_channel(pieces: Sequence[Piece], channels: int) -> tuple[str, ...]:
    return tuple(" ".join(each.text for each in pieces if each.channel == channel) for channel in range(channels))
