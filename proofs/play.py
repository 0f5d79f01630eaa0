"""Plays the scenarios of a proof, one after the other, each in a new folder, and prints their figures."""

import argparse
import asyncio
import tempfile
import time
import traceback
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

from proofs.chaos.figures import Figure

Scenarios = Mapping[str, Callable[[Path], Awaitable[list[Figure]]]]


def play(scenarios: Scenarios, proof: str, description: str | None) -> int:
    """Plays the scenarios that the command line names, or all. Returns the exit status: 0 if all was as promised."""
    parser = argparse.ArgumentParser(prog=f"python -m proofs.{proof}", description=description)
    parser.add_argument("--only", nargs="+", choices=tuple(scenarios), help="play only these scenarios")
    arguments = parser.parse_args()
    kept_all = [_play(scenarios, proof, name) for name in arguments.only or scenarios]
    return 0 if all(kept_all) else 1


def _play(scenarios: Scenarios, proof: str, name: str) -> bool:
    """Plays a scenario in a new folder. Returns whether everything was as promised."""
    started = time.monotonic()
    figures = figures_of(scenarios, proof, name)
    show(f"{name}, {time.monotonic() - started:.0f} s", figures)
    return all(figure.kept for figure in figures)


def figures_of(scenarios: Scenarios, proof: str, name: str) -> Sequence[Figure]:
    """Plays a scenario in a new folder. An error that ends it is a figure that is not as promised."""
    with tempfile.TemporaryDirectory(prefix=f"callscribe-{proof}-") as folder:
        try:
            return asyncio.run(_figures(scenarios, name, Path(folder)))
        except Exception:  # noqa: BLE001  the other scenarios are played too
            return [Figure.none("errors that ended the scenario", 1, traceback.format_exc().splitlines())]


def show(title: str, figures: Sequence[Figure]) -> None:
    print(title, *figures, sep="\n  ", flush=True)


async def _figures(scenarios: Scenarios, name: str, folder: Path) -> list[Figure]:
    return await scenarios[name](folder / "data")
