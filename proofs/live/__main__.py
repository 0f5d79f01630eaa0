"""Plays live calls in real time over the real WebSocket, and measures them: `make live`. See docs/live.md.

This module chooses the scenarios and their sizes. What happens in a scenario is in the module that has its function.
The last lines are a table in Markdown. A figure that is not as promised is marked, and then the exit status is 1.
"""

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from proofs.chaos.figures import Figure
from proofs.live.accuracy import accuracy
from proofs.live.faults import an_hour, faults, killed
from proofs.live.speed import many_calls, one_call
from proofs.play import Scenarios, figures_of, show
from testing.recordings import SAMPLE_CALL

FULL: Scenarios = {
    "load": partial(many_calls, calls=6, jobs=10, seconds=57.0),
    "accuracy": partial(accuracy, calls=6, shortest=20.0, longest=60.0),
    "faults": partial(faults, seconds=10.0, slow_seconds=3.0),
    "kill": partial(killed, seconds=10.0),
    "hour": partial(an_hour, seconds=3600.0),
}
SHORT: Scenarios = {
    "load": partial(many_calls, calls=2, jobs=4, seconds=20.0),
    "accuracy": partial(accuracy, calls=2, shortest=10.0, longest=20.0),
    "faults": partial(faults, seconds=4.0, slow_seconds=0.5),
    "kill": partial(killed, seconds=4.0),
    "hour": partial(an_hour, seconds=300.0),
}


def main() -> int:
    arguments = _arguments()
    one = partial(
        one_call,
        path=arguments.call,
        seconds=20.0 if arguments.short else arguments.seconds,
        language=arguments.language,
    )
    scenarios: Scenarios = {"delays": one, **(SHORT if arguments.short else FULL)}
    found: dict[str, Sequence[Figure]] = {}
    for name in arguments.only or scenarios:
        found[name] = figures_of(scenarios, "live", name)
        show(name, found[name])
    print(_table(found))
    return 0 if all(figure.kept for figures in found.values() for figure in figures) else 1


def _table(found: dict[str, Sequence[Figure]]) -> str:
    rows = [
        f"| {name} | {figure.what} | {figure.value:.4g} | {figure.promised} | {'' if figure.kept else '**missed**'} |"
        for name, figures in found.items()
        for figure in figures
    ]
    return "\n".join(["", "| scenario | figure | value | promised | |", "|---|---|---|---|---|", *rows])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m proofs.live", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=("delays", *FULL), help="play only these scenarios")
    parser.add_argument("--short", action="store_true", help="a small form of each scenario")
    parser.add_argument("--call", type=Path, default=SAMPLE_CALL, help="another WAV file for the scenario `delays`")
    parser.add_argument("--seconds", type=float, default=120.0, help="how much of it is played")
    parser.add_argument("--language", help="the language of that call; without it, the service finds out", default="en")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
