"""What it costs to decode a long call in a child under limits, beside the same decoding in the process itself.

    .venv/bin/python -m proofs.bench.decoding [--hours 1] [--runs 3]

The sample call, 8 kHz μ-law, over and over, split by channel. Each run has a process of its own; the one that
takes the fewest processor seconds counts.
"""

import argparse
import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from app.audio import decode_child
from app.audio.decode import decode
from app.audio.pcm import SAMPLE_RATE
from proofs.bench.measure import repeatedly
from testing.recordings import repeated_call

HOUR_SECONDS = 3600
MARGIN_SECONDS = 60
SAMPLING_SECONDS = 0.02


@dataclass(frozen=True)
class Cost:
    """`growth_mib` is what the peak of the process rose by, `child_mib` the peak of its children; 0 without any."""

    wall_seconds: float
    cpu_seconds: float
    growth_mib: float
    child_mib: float


def in_child(recording: Path, folder: Path, seconds: float) -> None:
    """As the service does it."""
    asyncio.run(decode(recording, folder, split=True, max_seconds=seconds))


def in_process(recording: Path, folder: Path, seconds: float) -> None:
    """The child's own code, without the child: no limits, and FFmpeg in the service's memory."""
    with recording.open("rb") as file:
        os.dup2(file.fileno(), 0)
    files = decode_child.open_files(str(folder), split=True)
    answer = decode_child.answer(files, {"rate": SAMPLE_RATE, "split": True, "max_seconds": seconds})
    assert "error" not in answer, answer


WAYS: Mapping[str, Callable[[Path, Path, float], None]] = {"in a child": in_child, "in the process": in_process}


def measure(work: Callable[[], None]) -> Cost:
    child_mib = 0.0

    def watch() -> None:
        nonlocal child_mib
        child_mib = max([child_mib, *(peak_mib(child.pid) for child in psutil.Process().children())])

    with repeatedly(watch, SAMPLING_SECONDS):
        before, cpu_before, started = peak_mib(os.getpid()), cpu_seconds(), time.perf_counter()
        work()
        wall_seconds, spent = time.perf_counter() - started, cpu_seconds() - cpu_before
    return Cost(wall_seconds, spent, peak_mib(os.getpid()) - before, child_mib)


def peak_mib(pid: int) -> float:
    """The most memory that a process ever had; 0 for one that has ended."""
    with suppress(OSError):
        found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
        return int(found[1]) / 1024 if found else 0.0
    return 0.0


def cpu_seconds() -> float:
    """Of this process and its children that ended."""
    return sum(os.times()[:4])


def run(way: str, recording: Path, seconds: float) -> Cost:
    """One way, in a new process."""
    command = [sys.executable, "-m", "proofs.bench.decoding", "--way", way, "--recording", str(recording)]
    command += ["--hours", str(seconds / HOUR_SECONDS)]
    return Cost(**json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))


def compare(hours: float, runs: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        recording = Path(folder) / "call.wav"
        recording.write_bytes(repeated_call(hours * HOUR_SECONDS))
        print(f"{hours:g} h of two channels, {recording.stat().st_size / 1e6:.0f} MB")
        print("| decoded | s | CPU s | × real time | growth of the process, MiB | child, MiB |")
        print("|---|---|---|---|---|---|")
        for way in WAYS:
            cost = min((run(way, recording, hours * HOUR_SECONDS) for _ in range(runs)), key=lambda c: c.cpu_seconds)
            print(
                f"| {way} | {cost.wall_seconds:.1f} | {cost.cpu_seconds:.1f} "
                f"| {hours * HOUR_SECONDS / cost.wall_seconds:.0f} | {cost.growth_mib:.0f} | {cost.child_mib:.0f} |"
            )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m proofs.bench.decoding", description=__doc__)
    parser.add_argument("--hours", type=float, default=1.0)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--recording", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.way is None:
        compare(given.hours, given.runs)
        return
    with tempfile.TemporaryDirectory() as folder:
        seconds = given.hours * HOUR_SECONDS + MARGIN_SECONDS
        cost = measure(lambda: WAYS[given.way](given.recording, Path(folder), seconds))
        print(json.dumps(asdict(cost)))


if __name__ == "__main__":
    main()
