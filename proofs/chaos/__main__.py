"""Breaks a running service in many ways under load, then accounts for every job: `make chaos`. See docs/chaos.md.

This module chooses the scenarios and their sizes. How a scenario breaks something is in the module of its name.
"""

import argparse
import asyncio
import os
import secrets
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from traceback import extract_tb

from proofs.chaos.black_hole import black_hole
from proofs.chaos.database import outages, trouble
from proofs.chaos.durability import kills, model, poison, rolling, zombies
from proofs.chaos.figures import Figure, NotAsPromised
from proofs.chaos.postmaster import DISK_BYTES, deaths, full_disk
from proofs.chaos.receivers import receivers
from proofs.chaos.speed import claims, pick_up, scale
from proofs.chaos.stage import KEPT_LOGS, Stage, stage
from proofs.chaos.strangers import strangers

SHORT_LEASE = 3.0
LOADED_LEASE = 10.0  # models keep all cores busy while others start
REAL_LEASE = 30.0


@dataclass(frozen=True)
class Scenario:
    """A scenario, and how its processes run.

    If `double` is set, a double replaces the engine, and FFmpeg too unless `decode` is set. Otherwise the real model
    runs. If `embedded` is set, the processes start and watch the database themselves. `disk_bytes` is the size of a
    disk made for the database, which only root can do.
    """

    play: Callable[[Stage], Awaitable[list[Figure]]]
    lease_seconds: float = SHORT_LEASE
    double: bool = True
    decode: bool = False
    embedded: bool = False
    disk_bytes: int | None = None


# The short form judges only a few times, with generous limits, because CI may be busy. The long form needs a machine
# that does nothing else.
SHORT = {
    "kills": Scenario(
        partial(kills, jobs=500, rate=20.0, longest_seconds=0.1, count=20, every_seconds=0.6, again_within=60.0)
    ),
    "zombies": Scenario(partial(zombies, count=4, workers=4, lease_seconds=SHORT_LEASE)),
    "rolling": Scenario(partial(rolling, count=5, every_seconds=1.0), REAL_LEASE),
    "database": Scenario(partial(trouble, seconds=3.0, within_seconds=3.0, least_share=0.0), REAL_LEASE),
    "outages": Scenario(partial(outages, count=2, jobs=9, seconds=2 * SHORT_LEASE)),
    "postmaster": Scenario(partial(deaths, count=3, every_seconds=6.0, back_within=60.0), REAL_LEASE, embedded=True),
    "full-disk": Scenario(
        partial(full_disk, seconds=5.0, back_within=120.0), REAL_LEASE, embedded=True, disk_bytes=DISK_BYTES
    ),
    "poison": Scenario(partial(poison, count=1, others=10)),
    "strangers": Scenario(
        partial(
            strangers,
            crowds={"silent": 300, "unread": 100, "ready": 200, "wait": 500},
            seconds=15.0,
            list_seconds=5.0,
            health_seconds=2.5,
        ),
        REAL_LEASE,
    ),
    "claims": Scenario(partial(claims, pending=10_000, each=100, p99_ms=1000.0)),
    "receivers": Scenario(partial(receivers, receivers=20, origins=4, seconds=10.0), REAL_LEASE),
    "black-hole": Scenario(partial(black_hole, jobs=20, killing_seconds=5.0), REAL_LEASE, decode=True),
}
LONG = {
    "kills": Scenario(
        partial(kills, jobs=5000, rate=8.0, longest_seconds=0.4, count=200, every_seconds=2.0, again_within=36.0),
        REAL_LEASE,
    ),
    "model": Scenario(partial(model, jobs=200, count=20, rate=4.0), LOADED_LEASE, double=False),
    "zombies": Scenario(partial(zombies, count=100, workers=6, lease_seconds=SHORT_LEASE)),
    "rolling": Scenario(partial(rolling, count=50, every_seconds=1.5), REAL_LEASE),
    "database": Scenario(partial(trouble, seconds=60.0, within_seconds=30.0, least_share=0.95), REAL_LEASE),
    "outages": Scenario(partial(outages, count=3, jobs=9, seconds=42.0), REAL_LEASE),
    "postmaster": Scenario(partial(deaths, count=20, every_seconds=8.0, back_within=10.0), REAL_LEASE, embedded=True),
    "full-disk": Scenario(
        partial(full_disk, seconds=60.0, back_within=30.0), REAL_LEASE, embedded=True, disk_bytes=DISK_BYTES
    ),
    "poison": Scenario(partial(poison, count=3, others=20)),
    "strangers": Scenario(
        partial(
            strangers,
            crowds={"silent": 1500, "unread": 500, "ready": 1500, "wait": 2000},
            seconds=90.0,
            list_seconds=1.0,
            health_seconds=0.25,
        ),
        REAL_LEASE,
    ),
    "claims": Scenario(partial(claims, pending=100_000, each=10_000, p99_ms=20.0)),
    "black-hole": Scenario(partial(black_hole, jobs=200, killing_seconds=300.0), REAL_LEASE, decode=True),
    "pick-up": Scenario(partial(pick_up, jobs=100), REAL_LEASE),
    "receivers": Scenario(partial(receivers, receivers=80, origins=8, seconds=60.0), REAL_LEASE),
    "scale": Scenario(partial(scale, jobs=400, window_seconds=20.0), REAL_LEASE),
}


def main() -> int:
    arguments = _arguments()
    scenarios = LONG if arguments.long else SHORT
    seed = arguments.seed or secrets.token_hex(4)
    again = f"make chaos SEED={seed}" + (" LONG=1" if arguments.long else "")
    print(f"seed {seed}; to repeat this run: {again}", file=sys.stderr)
    figures: Sequence[Figure]
    for name in arguments.only or scenarios:
        started = time.monotonic()
        try:
            figures = asyncio.run(_play(f"{seed}-{name}", scenarios[name]))
        except NotAsPromised as error:
            figures = error.figures
        except TimeoutError as error:
            steps = [frame for frame in extract_tb(error.__traceback__) if Path(frame.filename).parent.name == "chaos"]
            waits = [f"{Path(frame.filename).name}:{frame.lineno} in {frame.name}" for frame in steps]
            figures = [Figure.none("waits that took too long", 1, waits)]
        print(f"{name}, {time.monotonic() - started:.0f} s", *figures, sep="\n  ", flush=True)
        if not all(figure.kept for figure in figures):
            log = KEPT_LOGS / f"{seed}-{name}.log"
            print(f"{name} is not as promised; log: {log}; again: {again} ONLY={name}", file=sys.stderr)
            return 1
    return 0


async def _play(seed: str, scenario: Scenario) -> Sequence[Figure]:
    """Plays a scenario on a new stage, and returns its figures.

    Raises NotAsPromised if a promise is broken. Because of the exception, the stage keeps the log of the processes.
    """
    if scenario.disk_bytes is not None and os.geteuid() != 0:
        return [Figure.found("not played, because only root can make a small disk", 0)]
    arguments = ["--lease", str(scenario.lease_seconds)]
    arguments += ["--double"] if scenario.double else []
    arguments += ["--decode"] if scenario.decode else []
    settings = {} if scenario.double else {"MODEL": "tiny.en"}
    if scenario.disk_bytes is not None:
        settings["MIN_FREE_BYTES"] = "0"  # the default is more than the whole small disk
    async with stage(seed, arguments, embedded=scenario.embedded, disk_bytes=scenario.disk_bytes, **settings) as set_up:
        figures = await scenario.play(set_up)
        if not all(figure.kept for figure in figures):
            raise NotAsPromised(figures)
    return figures


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m proofs.chaos", description=__doc__)
    parser.add_argument("--seed", help="the same seed makes the same choices; the default is a new seed")
    parser.add_argument("--long", action="store_true", help="check everything that is promised; takes about 55 minutes")
    parser.add_argument("--only", nargs="+", choices=sorted(LONG), help="play only these scenarios")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
