"""Runs many trials at the same time from one seed, and counts their outcomes."""

import asyncio
import os
import resource
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from proofs.fuzz.mutations import mutate
from proofs.fuzz.recordings import recordings
from testing.decoder_trial import HANG_SECONDS, Verdict, attempt

CHILD_MEMORY_BYTES = 512 * 1024 * 1024
KIB = 1024  # ru_maxrss is in KiB on Linux


@dataclass
class Tally:
    """What happened to the trials.

    `child_bytes` is the peak memory of the largest child, `growth_bytes` the growth of this process's peak.
    """

    outcomes: Counter[str] = field(default_factory=Counter)
    slowest_seconds: float = 0.0
    faults: list[str] = field(default_factory=list)
    child_bytes: int = 0
    growth_bytes: int = 0


def mutation(seed: int, number: int, originals: Sequence[bytes]) -> bytes:
    """Returns a mutation that depends on nothing but these arguments, so that it can be made again."""
    chance = Random(f"{seed}/{number}")
    return mutate(chance, chance.choice(originals), chance.choice(originals))


async def run(
    count: int, seed: int, keep: Path, report: Callable[[int], None], patience_seconds: float = HANG_SECONDS
) -> Tally:
    """Decodes `count` mutations. Saves those that show a fault in the folder `keep`."""
    originals, tally, numbers = recordings(), Tally(), iter(range(count))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    async def work() -> None:
        with tempfile.TemporaryDirectory(prefix="callscribe-fuzz-") as folder:
            for number in numbers:
                content = mutation(seed, number, originals)
                _count(tally, await attempt(content, Path(folder), patience_seconds), number, content, keep)
                report(number)
                if tally.faults:
                    return

    await asyncio.gather(*(work() for _ in range(2 * (os.cpu_count() or 1))))
    tally.child_bytes = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * KIB
    tally.growth_bytes = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * KIB
    if tally.child_bytes > CHILD_MEMORY_BYTES:
        tally.faults.append(f"a child took {tally.child_bytes} bytes")
    return tally


def _count(tally: Tally, verdict: Verdict, number: int, content: bytes, keep: Path) -> None:
    tally.outcomes[verdict.outcome] += 1
    tally.slowest_seconds = max(tally.slowest_seconds, verdict.seconds)
    if verdict.fault is not None:
        keep.mkdir(parents=True, exist_ok=True)
        kept = keep / f"mutation-{number}"
        kept.write_bytes(content)
        tally.faults.append(f"{kept}: {verdict.fault}")
