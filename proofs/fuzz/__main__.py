"""Decodes broken recordings. The exit code is 1 if one of them does not end as audio or an error code."""

import argparse
import asyncio
import sys
import time
from pathlib import Path

from proofs.fuzz.campaign import Tally, run
from testing.decoder_trial import HANG_SECONDS

REPORT_EVERY = 500
MB = 1_000_000


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m proofs.fuzz", description=__doc__)
    parser.add_argument("--count", type=int, default=10_000, help="mutations to try")
    parser.add_argument("--seed", type=int, default=1, help="another seed gives other mutations")
    parser.add_argument(
        "--keep", type=Path, default=Path("fuzz-faults"), help="folder for the mutations that show a fault"
    )
    parser.add_argument(
        "--patience",
        type=float,
        default=HANG_SECONDS,
        help="seconds after which a decoder counts as hanging; choose more on a busy machine",
    )
    arguments = parser.parse_args()
    started = time.monotonic()

    def report(number: int) -> None:
        if (number + 1) % REPORT_EVERY == 0:
            print(f"{number + 1} of {arguments.count}, {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)

    tally = asyncio.run(run(arguments.count, arguments.seed, arguments.keep, report, arguments.patience))
    print_tally(tally, time.monotonic() - started)
    return 1 if tally.faults else 0


def print_tally(tally: Tally, seconds: float) -> None:
    print(f"{tally.outcomes.total()} mutations in {seconds:.0f} s")
    for outcome, count in tally.outcomes.most_common():
        print(f"  {outcome:<20}{count:>8}")
    print(f"slowest: {tally.slowest_seconds:.1f} s; largest child: {tally.child_bytes / MB:.0f} MB; ", end="")
    print(f"growth of this process: {tally.growth_bytes / MB:.0f} MB")
    for fault in tally.faults:
        print(f"FAULT {fault}")


sys.exit(main())
