"""Proves that the service's whole path runs on an NVIDIA GPU, and measures it: `make gpu`. See docs/gpu.md."""

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from app.speech.model import ModelUnavailable
from app.speech.whisper import gpu_table
from app.speech.whisper.weights import default_model, fetch
from proofs.bench.calls import Call, load, recordings_in, save
from proofs.bench.results import software
from proofs.gpu.machine import Machine, Missing, described, look
from proofs.gpu.plan import LISTING, Plan, composed
from proofs.gpu.proof import Proof
from proofs.gpu.runner import Runner

SECONDS = 560  # so that everything fits a command that may take ten minutes


def main() -> int:
    arguments = _arguments()
    try:
        machine = look() if arguments.device == "cuda" else None
        with TemporaryDirectory(prefix="callscribe-gpu-") as name:
            return _prove(arguments, machine, Path(name))
    except (Missing, ModelUnavailable) as error:
        print(error, file=sys.stderr)
        return 2


def _prove(arguments: argparse.Namespace, machine: Machine | None, folder: Path) -> int:
    facts: dict[str, Any] = {**software(), **(machine.facts if machine else {}), "model": arguments.model}
    print(described(facts), flush=True)
    if machine and arguments.look:
        return 0
    _put_recordings(arguments.recordings, folder)
    fetch(arguments.model, folder / "models")
    runner = Runner(arguments.output, arguments.seconds, facts)
    plan = Plan(folder, arguments.model, arguments.device, sizes=tuple(arguments.sizes))
    proof = Proof(runner, plan, machine, quick=arguments.quick)
    speeds = proof.run()
    _conclude(arguments, runner, proof.refreshed(speeds))
    return 1 if runner.failures else 0


def _conclude(arguments: argparse.Namespace, runner: Runner, table: gpu_table.GpuTable | None) -> None:
    print(f"\nAll figures are in {runner.output / 'results.json'}")
    for failure in runner.failures:
        print(f"failed: {failure}")
    if table:
        gpu_table.write(table, runner.output / gpu_table.TABLE.name)
        print(f"The table of decisions with these measurements is {runner.output / gpu_table.TABLE.name}")
        if arguments.refresh:
            gpu_table.write(table, gpu_table.TABLE)
            print(f"{gpu_table.TABLE} is refreshed")


def _put_recordings(source: Path | None, folder: Path) -> None:
    """Lists the recordings of a folder, or composes calls as `make bench` does."""
    if source is not None and not source.is_dir():
        sys.exit(f"{source} is no folder of recordings")
    calls = composed(folder) if source is None else _in_folder(source)
    if not calls:
        sys.exit(f"{source} contains no recording")
    save(calls, folder / LISTING)


def _in_folder(source: Path) -> list[Call]:
    """Reads the listing of packed calls, whose paths are those of the machine that packed them."""
    if (source / LISTING).exists():
        return [replace(call, path=source / call.path.name) for call in load(source / LISTING)]
    return recordings_in(source)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m proofs.gpu", description=__doc__)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu: shows that the steps run")
    parser.add_argument("--model", default=default_model(), help="a model's name, or the folder of a converted model")
    parser.add_argument("--recordings", type=Path, help="folder of recordings; the default is the calls of make bench")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32, 64], help="batch sizes to measure")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="no step runs longer than this after the start")
    parser.add_argument("--output", type=Path, default=Path("dist/gpu-results"), help="folder for the results")
    parser.add_argument("--refresh", action="store_true", help="write the measured values to the package's gpu.json")
    parser.add_argument("--quick", action="store_true", help="leave out the contenders and all but one way")
    parser.add_argument("--look", action="store_true", help="only say what the machine has, and what is missing")
    arguments = parser.parse_args()
    if too_large := [size for size in arguments.sizes if not 1 <= size <= gpu_table.MOST_WINDOWS]:
        parser.error(f"{too_large[0]} is no size of a batch: 1 to {gpu_table.MOST_WINDOWS}")
    return arguments


if __name__ == "__main__":
    sys.exit(main())
