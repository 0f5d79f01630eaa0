"""Checks what must be true however long the service runs.

The service recognizes no words without speech, a long call does not delay a short one much, and the service's memory,
open files and threads do not grow.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import psutil

from proofs.bench.compose import conversation, simple_sounds, written
from proofs.bench.measure import Meter, resident_mib
from proofs.bench.ours import transcript_of
from proofs.bench.sources import RATE, Sentence, sentences
from proofs.chaos.figures import Figure
from testing.service import POLL_SECONDS, Service, eventually

MOST_MIB = 1331  # 1.3 GiB, while two dozen calls run; one call takes less, also a long one
MOST_MIB_OF_ONE = 1000
ERASED_WITHIN_SECONDS = 10
PIECE_SECONDS = 240  # a long call repeats this piece, because there is not enough speech


@dataclass(frozen=True)
class Held:
    """What the service's process uses while it has nothing to do."""

    memory_mib: float
    open_files: int
    threads: int

    @classmethod
    def by(cls, service: Service) -> "Held":
        process = psutil.Process(service.process.pid)
        return cls(resident_mib(process), open_files(process), process.num_threads())

    def __str__(self) -> str:
        return f"{self.memory_mib:.0f} MiB, {self.open_files} open files, {self.threads} threads"


def open_files(process: psutil.Process) -> int:
    """Returns the number of open files.

    An ordinary user may not count them. For such a user it returns the size of the table of open files, which only
    grows.
    """
    try:
        return process.num_fds()
    except psutil.AccessDenied:
        status = Path(f"/proc/{process.pid}/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("FDSize:"))


def silence(service: Service, folder: Path, *, seconds: float) -> list[Figure]:
    """Transcribes `seconds` of silence, noise, ringing and music, and counts the words."""
    figures = []
    for call in simple_sounds(folder, seconds):
        transcript = transcript_of(service, service.create(call.path.read_bytes()))
        figures.append(Figure.none(f"words in {seconds:g} s of {call.path.stem}", len(transcript["text"].split())))
    return figures


def beside(service: Service, folder: Path, *, seconds: float, long_seconds: float, tries: int) -> list[Figure]:
    """Measures a short call, alone and while a long one is transcribed."""
    short = call_of(folder / "short.wav", seconds)
    alone = [_timed(service, short) for _ in range(tries)]
    long = service.create(call_of(folder / "long.wav", long_seconds).read_bytes(), channels="split")
    service.running(long)
    eventually(lambda: service.read(long["links"]["self"])["progress"] > 0)
    together = [_timed(service, short) for _ in range(tries)]
    status = service.read(long["links"]["self"])["status"]
    service.client.delete(long["links"]["self"]).raise_for_status()
    idle = float(np.median(alone))
    return [
        Figure.found(f"a call of {seconds:g} s alone, seconds (median of {tries})", idle),
        Figure.at_most(f"during one of {long_seconds:g} s, mean, times as long", float(np.mean(together)) / idle, 3.0),
        Figure.found("the longest of them, times as long", max(together) / idle),
        Figure.none("long calls that ended before the short ones", status != "in_progress"),
    ]


def long(service: Service, folder: Path, *, seconds: float) -> list[Figure]:
    """Measures the memory while one recording of two channels is transcribed."""
    recording = call_of(folder / "long.wav", seconds).read_bytes()
    return _metered(service, f"a call of {seconds:g} s", MOST_MIB_OF_ONE, lambda: _transcribe(service, [recording]))


def many(service: Service, folder: Path, *, rounds: int, jobs: int, seconds: float) -> list[Figure]:
    """Records what the process uses after each round of jobs. A leak grows with the number of rounds."""
    recording = call_of(folder / "one-of-many.wav", seconds).read_bytes()
    after: list[Held] = []

    def work() -> None:
        for number in range(rounds):
            _transcribe(service, [recording] * jobs)
            after.append(Held.by(service))
            print(f"round {number + 1} of {rounds}: {after[-1]}", flush=True)

    figures = _metered(service, f"{rounds} rounds of {jobs} calls of {seconds:g} s", MOST_MIB, work)
    settled, last = after[(len(after) - 1) // 2], after[-1]  # in the first rounds the allocator's arenas still grow
    return [
        *figures,
        Figure.within("MiB more than after half of the rounds", last.memory_mib - settled.memory_mib, 50),
        Figure.within("open files more than then", last.open_files - settled.open_files, 5),
        Figure.within("threads more than then", last.threads - settled.threads, 5),
        Figure.none("recordings and decoded audio that were left", _left_files(service)),
    ]


def call_of(path: Path, seconds: float) -> Path:
    """Writes a stereo call in English, and returns its path."""
    audio, _ = conversation(_english(), min(seconds, PIECE_SECONDS), np.random.default_rng(1))
    samples = round(seconds * RATE)
    return written(path, np.tile(audio, (1, -(-samples // audio.shape[1])))[:, :samples])


@cache
def _english() -> list[Sentence]:
    return [each for each in sentences()[0] if each.language == "en"]


def _left_files(service: Service) -> int:
    """Returns how many files of ended jobs remain after the time to erase them."""
    deadline = time.monotonic() + ERASED_WITHIN_SECONDS
    while (left := len(service.stored_files() + service.work_files())) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    return left


def _metered(service: Service, what: str, most_mib: float, work: Callable[[], None]) -> list[Figure]:
    before = Held.by(service)
    with Meter([psutil.Process(service.process.pid)]) as meter:
        work()
    return [
        Figure.found("idle before, MiB", before.memory_mib),
        Figure.at_most(f"{what}, most MiB", meter.peak_mib, most_mib),
        Figure.found("seconds", meter.wall_seconds),
        Figure.found("idle after, MiB", Held.by(service).memory_mib),
    ]


def _transcribe(service: Service, recordings: Sequence[bytes]) -> None:
    for job in [service.create(recording, channels="split") for recording in recordings]:
        transcript_of(service, job)


def _timed(service: Service, recording: Path) -> float:
    started = time.perf_counter()
    _transcribe(service, [recording.read_bytes()])
    return time.perf_counter() - started
