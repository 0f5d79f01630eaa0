"""Runs one contender in its own process, and prints its runs as JSON.

    python -m proofs.bench.contender NAME CALLS.json FOLDER [CLIENTS …]

FOLDER holds the models and the service's files. CLIENTS are the numbers of clients, for the contender `service` only.
"""

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path

import psutil

from proofs.bench.calls import Call, Piece, load
from proofs.bench.limit import limit
from proofs.bench.measure import Meter, Run
from proofs.bench.ours import engine, service
from proofs.bench.rivals import batched, command_line, one_by_one
from proofs.bench.work import CORES, Contender

SERVICE = "service"
CONTENDERS: Mapping[str, Contender] = {
    "transcribe": partial(one_by_one, threads=CORES),
    "batched": partial(batched, batch_size=16),
    "batched-workers": partial(batched, batch_size=8, workers=CORES),
    "engine": engine,
    "limit": partial(limit, batch_size=8),
    "limit-beam-3": partial(limit, batch_size=8, beam_size=3),
    "command-line": command_line,
}


def run(contender: Contender, models_dir: Path, calls: list[Call]) -> Run:
    """Lets the contender transcribe all calls, and measures it."""
    work = contender(models_dir, calls)
    latencies: list[float] = []
    heard: dict[str, list[Piece]] = {}
    with Meter([psutil.Process()]) as meter:

        def report(call: Call, pieces: list[Piece]) -> None:
            latencies.append(meter.elapsed())
            heard[call.path.name] = pieces

        work(report)
    return Run(meter.wall_seconds, meter.cpu_seconds, meter.peak_mib, latencies, heard)


def main() -> None:
    name, calls, folder, *levels = sys.argv[1:]
    recordings = load(Path(calls))
    if name == SERVICE:
        runs = service(Path(folder) / SERVICE, recordings, [int(level) for level in levels])
    else:
        runs = [run(CONTENDERS[name], Path(folder) / "models", recordings)]
    print(json.dumps([asdict(each) for each in runs]), flush=True)
    os._exit(0)  # freeing a model in CTranslate2 may crash the process


if __name__ == "__main__":
    main()
