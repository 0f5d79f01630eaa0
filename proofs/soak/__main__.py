"""Runs the service for a long time and checks its memory, files and fairness: `make soak`. See docs/bench.md."""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from proofs.bench.work import MODEL
from proofs.chaos.figures import Figure
from proofs.soak.neighbours import ADMIN, MODEST, SETTINGS, SETTINGS_OF_TENANTS, neighbours, tenants
from proofs.soak.scenarios import beside, long, many, silence
from testing.service import Service, serving


@dataclass(frozen=True)
class Scenario:
    """Gives `play` a service with these settings, whose client sends `key`."""

    play: Callable[[Service, Path], list[Figure]]
    key: str | None = None
    settings: Mapping[str, str] = field(default_factory=dict)


def scenarios(rounds: int) -> Mapping[str, Scenario]:
    flood = partial(neighbours, seconds=60, long_seconds=3600, calls=16, waiting=10_000, tries=5)
    return {
        "silence": Scenario(partial(silence, seconds=600)),
        "beside": Scenario(partial(beside, seconds=30, long_seconds=2 * 3600, tries=5)),
        "long": Scenario(partial(long, seconds=4 * 3600)),
        "many": Scenario(partial(many, rounds=rounds, jobs=100, seconds=15)),
        "neighbours": Scenario(flood, MODEST, SETTINGS),
        "tenants": Scenario(partial(flood, calls=40, of=tenants), ADMIN, SETTINGS_OF_TENANTS),
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m proofs.soak", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=tuple(scenarios(1)), help="play only these scenarios")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of a hundred calls each, in the scenario `many`")
    arguments = parser.parse_args()
    chosen = scenarios(max(2, arguments.rounds))
    kept = [_play(name, chosen[name]) for name in arguments.only or chosen]
    return 0 if all(kept) else 1


def _play(name: str, scenario: Scenario) -> bool:
    """Plays a scenario on a new service. Returns whether everything was as promised."""
    started = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="callscribe-soak-") as folder,
        serving(Path(folder) / "data", key=scenario.key, MODEL=MODEL, DEVICE="cpu", **scenario.settings) as service,
    ):
        figures = scenario.play(service, Path(folder))
        print(f"{name}, {time.monotonic() - started:.0f} s", *figures, sep="\n  ", flush=True)
    return all(figure.kept for figure in figures)


if __name__ == "__main__":
    sys.exit(main())
