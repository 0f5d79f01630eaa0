"""Measures what a piece of work costs: wall time, CPU time and memory."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import psutil

from proofs.bench.calls import Piece

MEBIBYTE = 1024**2
SAMPLING_SECONDS = 0.05


@dataclass(frozen=True)
class Run:
    """A contender's run through all recordings.

    `latencies` are the seconds from the start, or from a client's request, to each transcript. The keys of `heard` are
    file names. `health_ms` are the response times of the service's `/healthz` during the run.
    """

    wall_seconds: float
    cpu_seconds: float
    peak_mib: float
    latencies: list[float]
    heard: dict[str, list[Piece]]
    clients: int | None = None
    health_ms: list[float] = field(default_factory=list)
    idle_mib: float | None = None


class Meter:
    """Measures the CPU time of all processes and their children, and the memory of the first, during its block."""

    def __init__(self, processes: Sequence[psutil.Process]) -> None:
        self._processes = processes
        self._sampling = repeatedly(self._sample, SAMPLING_SECONDS)
        self.wall_seconds = self.cpu_seconds = self.peak_mib = 0.0

    def __enter__(self) -> Self:
        self._sampling.__enter__()
        self._cpu_before = sum(map(_cpu_seconds, self._processes))
        self._started = time.perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.wall_seconds = self.elapsed()
        self.cpu_seconds = sum(map(_cpu_seconds, self._processes)) - self._cpu_before
        self._sampling.__exit__(kind, error, trace)

    def elapsed(self) -> float:
        """Returns the seconds since the block began."""
        return time.perf_counter() - self._started

    def _sample(self) -> None:
        self.peak_mib = max(self.peak_mib, resident_mib(self._processes[0]))


@contextmanager
def repeatedly(action: Callable[[], object], seconds: float) -> Iterator[None]:
    """Calls `action` every `seconds` on a thread until the end of the block, and once more at the end.

    If the action raised an error, the end of the block raises it.
    """
    stop = threading.Event()

    def repeat() -> None:
        ended = False
        while not ended:
            ended = stop.wait(seconds)
            action()

    with ThreadPoolExecutor(1) as pool:
        repeating = pool.submit(repeat)
        try:
            yield
        finally:
            stop.set()
            repeating.result()


def resident_mib(process: psutil.Process) -> float:
    return float(process.memory_info().rss / MEBIBYTE)


def _cpu_seconds(process: psutil.Process) -> float:
    """Returns the CPU time of a process, of its children that have ended, and of its running children."""
    try:
        times = process.cpu_times()
        ended = times.children_user + times.children_system
        return float(times.user + times.system + ended + sum(map(_cpu_seconds, process.children())))
    except psutil.NoSuchProcess:
        return 0.0
