"""Shows that the OpenAI-shaped door keeps what it promises to its clients: `make door`. See docs/bench.md.

This module chooses the scenarios and their sizes. What happens in a scenario is in the module that has its function.
"""

import argparse
import asyncio
import sys
import tempfile
import time
import traceback
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from proofs.chaos.figures import Figure
from proofs.door.crowd import at_work, waiting
from proofs.door.giving_up import hang_ups, kept, repeats
from proofs.door.kills import kills
from proofs.door.latency import ends, first_words
from proofs.door.same_text import same_text

SCENARIOS: Mapping[str, Callable[[Path], Awaitable[list[Figure]]]] = {
    "waiting": partial(waiting, clients=200, seconds=15.0),
    "at-work": partial(at_work, clients=200),
    "ends": partial(ends, rounds=8),
    "first-words": partial(first_words, seconds=240.0),
    "hang-ups": partial(hang_ups, seconds=3600.0),
    "kept": kept,
    "repeats": partial(repeats, timeout_seconds=8.0),
    "kills": partial(kills, seconds=240.0),
    "same-text": same_text,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m proofs.door", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=tuple(SCENARIOS), help="play only these scenarios")
    arguments = parser.parse_args()
    kept_all = [_play(name) for name in arguments.only or SCENARIOS]
    return 0 if all(kept_all) else 1


def _play(name: str) -> bool:
    """Plays a scenario in a new folder. Returns whether everything was as promised."""
    started = time.monotonic()
    figures: Sequence[Figure]
    with tempfile.TemporaryDirectory(prefix="callscribe-door-") as folder:
        try:
            figures = asyncio.run(_figures(name, Path(folder)))
        except Exception:  # noqa: BLE001  the other scenarios are played too
            figures = [Figure.none("errors that ended the scenario", 1, traceback.format_exc().splitlines())]
    print(f"{name}, {time.monotonic() - started:.0f} s", *figures, sep="\n  ", flush=True)
    return all(figure.kept for figure in figures)


async def _figures(name: str, folder: Path) -> list[Figure]:
    return await SCENARIOS[name](folder / "data")


if __name__ == "__main__":
    sys.exit(main())
