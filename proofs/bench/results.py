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

from proofs.bench.bootstrap import well_known
from proofs.bench.calls import Call, channel_seconds
from proofs.bench.measure import Run
from proofs.bench.scoring import Heard, error_rate, words
from proofs.bench.work import CORES

LIMIT = "raw limit: encode and generate only"
LIBRARIES = ("ctranslate2", "faster-whisper", "onnxruntime", "numpy")


@dataclass(frozen=True)
class Entry:
    """A contender of the table, and the way to run it (`contender.py`).

    `program` is a command that it needs and that the project does not install. If it `hears_sounds`, it also
    transcribes the sounds without words.
    """

    letter: str
    title: str
    way: str
    hears_sounds: bool = False
    program: str | None = None


ENTRIES = (
    Entry("a", "faster-whisper transcribe, file after file", "transcribe", hears_sounds=True),
    Entry("b", "BatchedInferencePipeline, file after file", "batched", hears_sounds=True),
    Entry("b2", "BatchedInferencePipeline, a worker per core", "batched-workers"),
    Entry("c", "our engine, all calls at the same time", "engine", hears_sounds=True),
    Entry("d", "our service over HTTP, all calls at the same time", "service", hears_sounds=True),
    Entry("e", LIMIT, "limit"),
    Entry("e3", f"{LIMIT}, beam 3", "limit-beam-3"),
    Entry("f", "whisper, the command line, file after file", "command-line", program="whisper"),
)


@dataclass(frozen=True)
class Row:
    """The figures of one run. Rates are shares from 0 to 1. `speed` is channel-seconds of audio per second.

    `ratio` is the speed divided by the speed of (a), `of_limit` divided by that of (e), and `of_engine` by that of (c).
    `idle_share` is the part of the cores' time in which nothing of the contender ran. `known_error_rate` is that of the
    languages which the model knows well. `words_per_hour` counts words in an hour of sounds without words, and
    `invented` holds the words themselves by sound.
    """

    letter: str
    title: str
    way: str
    clients: int | None
    speed: float
    ratio: float | None
    of_limit: float | None
    of_engine: float | None
    cpu_per_channel_second: float
    idle_share: float
    latency_p50: float
    latency_p95: float
    peak_mib: float
    idle_mib: float | None
    health_p95_ms: float | None
    health_max_ms: float | None
    error_rate: float | None
    known_error_rate: float | None
    error_rates: dict[str, float | None]
    words_per_hour: float | None
    invented: dict[str, str]


@dataclass(frozen=True)
class Measured:
    """An entry's run on the calls, and its run on sounds without words."""

    entry: Entry
    run: Run
    wordless: Run | None


def rows(measured: Sequence[Measured], calls: Sequence[Call], sounds: Sequence[Call]) -> list[Row]:
    """Returns one row for each run, in the same order. A ratio to an entry that was not run is None."""
    speeds = {each.entry.letter: channel_seconds(calls) / each.run.wall_seconds for each in measured}
    return [_row(each, calls, sounds, speeds) for each in measured]


def percentile(figures: Sequence[float], share: float) -> float:
    """Returns the smallest figure that at least this share of the figures does not exceed."""
    return sorted(figures)[max(0, math.ceil(share * len(figures)) - 1)]


def machine() -> Mapping[str, str | int]:
    """Returns the machine, the date, and the versions of the libraries."""
    return {
        "processor": _processor(),
        "memory_gib": round(psutil.virtual_memory().total / 1024**3),
        **software(("callscribe", *LIBRARIES)),
    }


def software(libraries: Sequence[str] = LIBRARIES) -> Mapping[str, str | int]:
    """Returns the date, the system, and the versions of libraries that are installed."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "system": platform.platform(),
        "python": platform.python_version(),
        "cores": os.cpu_count() or 0,
        **{name: version(name) for name in libraries},
    }


def _row(measured: Measured, calls: Sequence[Call], sounds: Sequence[Call], speeds: Mapping[str, float]) -> Row:
    run = measured.run
    seconds = channel_seconds(calls)
    speed = seconds / run.wall_seconds
    conditions = sorted({call.condition for call in calls})
    return Row(
        letter=measured.entry.letter,
        title=measured.entry.title,
        way=measured.entry.way,
        clients=run.clients,
        speed=speed,
        ratio=speed / speeds["a"] if "a" in speeds else None,
        of_limit=speed / speeds["e"] if "e" in speeds else None,
        of_engine=speed / speeds["c"] if "c" in speeds else None,
        cpu_per_channel_second=run.cpu_seconds / seconds,
        idle_share=max(0.0, 1 - run.cpu_seconds / (run.wall_seconds * CORES)),
        latency_p50=percentile(run.latencies, 0.5),
        latency_p95=percentile(run.latencies, 0.95),
        peak_mib=run.peak_mib,
        idle_mib=run.idle_mib,
        health_p95_ms=percentile(run.health_ms, 0.95) if run.health_ms else None,
        health_max_ms=max(run.health_ms) if run.health_ms else None,
        error_rate=error_rate(calls, run.heard),
        known_error_rate=error_rate(well_known(calls), run.heard),
        error_rates={
            name: error_rate([call for call in calls if call.condition == name], run.heard) for name in conditions
        },
        words_per_hour=_per_hour(measured.wordless.heard, sounds) if measured.wordless else None,
        invented=_invented(measured.wordless.heard) if measured.wordless else {},
    )


def _per_hour(heard: Heard, sounds: Sequence[Call]) -> float:
    return 3600 * words(heard) / sum(sound.seconds for sound in sounds)


def _invented(heard: Heard) -> dict[str, str]:
    texts = {Path(name).stem: " ".join(piece.text.strip() for piece in pieces) for name, pieces in heard.items()}
    return {name: text for name, text in texts.items() if text}


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.processor())
