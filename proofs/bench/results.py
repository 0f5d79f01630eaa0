"""Turns runs into the rows that are printed and saved."""

import math
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import psutil

from proofs.bench.calls import Call, channel_seconds
from proofs.bench.measure import Run
from proofs.bench.scoring import error_rate, words

LIBRARIES = ("callscribe", "ctranslate2", "faster-whisper", "onnxruntime", "numpy")


@dataclass(frozen=True)
class Entry:
    """A contender of the table, and the ways to run it. The fastest way counts.

    `program` is a command that it needs and that the project does not install.
    """

    letter: str
    title: str
    ways: tuple[str, ...]
    program: str | None = None


ENTRIES = (
    Entry("a", "faster-whisper transcribe, file after file", ("transcribe", "transcribe-all-cores")),
    Entry("b", "BatchedInferencePipeline, file after file", ("batched-8", "batched-16")),
    Entry("b2", "BatchedInferencePipeline, a worker per core", ("batched-8-workers", "batched-16-workers")),
    Entry("c", "our engine, all calls at the same time", ("engine",)),
    Entry("d", "our service over HTTP, all calls at the same time", ("service",)),
    Entry("e", "raw limit: encode and generate only", ("limit-4", "limit-8", "limit-16")),
    Entry("f", "whisper, the command line, file after file", ("command-line",), program="whisper"),
)


@dataclass(frozen=True)
class Row:
    """The figures of one run. Rates are shares from 0 to 1. `speed` is channel-seconds of audio per second.

    `ratio` is the speed divided by the speed of (a). `wordless_words` counts words in recordings without speech.
    """

    letter: str
    title: str
    way: str
    clients: int | None
    speed: float
    ratio: float | None
    cpu_per_channel_second: float
    latency_p50: float
    latency_p95: float
    peak_mib: float
    idle_mib: float | None
    health_p95_ms: float | None
    health_max_ms: float | None
    error_rate: float | None
    error_rates: dict[str, float | None]
    wordless_words: int | None


@dataclass(frozen=True)
class Measured:
    """An entry's run on the calls, and its run on recordings without speech."""

    entry: Entry
    way: str
    run: Run
    wordless: Run | None


def rows(measured: Sequence[Measured], calls: Sequence[Call]) -> list[Row]:
    """Returns one row for each measured entry, in the same order. If (a) was not run, `ratio` is None."""
    base = next((channel_seconds(calls) / each.run.wall_seconds for each in measured if each.entry.letter == "a"), None)
    return [_row(each, calls, base) for each in measured]


def percentile(figures: Sequence[float], share: float) -> float:
    """Returns the smallest figure that at least this share of the figures does not exceed."""
    return sorted(figures)[max(0, math.ceil(share * len(figures)) - 1)]


def machine() -> Mapping[str, str | int]:
    """Returns the machine, the date, and the versions of the libraries."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "processor": _processor(),
        "cores": os.cpu_count() or 0,
        "memory_gib": round(psutil.virtual_memory().total / 1024**3),
        "system": platform.platform(),
        "python": platform.python_version(),
        **{name: version(name) for name in LIBRARIES},
    }


def _row(measured: Measured, calls: Sequence[Call], base: float | None) -> Row:
    run = measured.run
    seconds = channel_seconds(calls)
    speed = seconds / run.wall_seconds
    conditions = sorted({call.condition for call in calls})
    return Row(
        letter=measured.entry.letter,
        title=measured.entry.title,
        way=measured.way,
        clients=run.clients,
        speed=speed,
        ratio=speed / base if base else None,
        cpu_per_channel_second=run.cpu_seconds / seconds,
        latency_p50=percentile(run.latencies, 0.5),
        latency_p95=percentile(run.latencies, 0.95),
        peak_mib=run.peak_mib,
        idle_mib=run.idle_mib,
        health_p95_ms=percentile(run.health_ms, 0.95) if run.health_ms else None,
        health_max_ms=max(run.health_ms) if run.health_ms else None,
        error_rate=error_rate(calls, run.heard),
        error_rates={
            name: error_rate([call for call in calls if call.condition == name], run.heard) for name in conditions
        },
        wordless_words=words(measured.wordless.heard) if measured.wordless else None,
    )


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.processor())
