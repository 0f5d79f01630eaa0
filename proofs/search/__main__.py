"""Measures the search in a million calls of a year, on an embedded PostgreSQL: `make search`. See docs/search.md."""

import argparse
import asyncio
import math
import sys
import tempfile
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from app.access.callers import Caller
from app.database.connections import Database
from app.jobs.lifecycle import Status
from app.jobs.reads.listing import Wanted
from app.jobs.reads.reading import Reader
from app.search.query import parse
from proofs.filled_database import filled_database
from proofs.search.filling import fill

PROMISED_SECONDS = 0.2
SPRING, SUMMER = datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 6, 1, tzinfo=UTC)
MANAGER, SMALL = Caller("manager"), Caller("manager", "tiny")
SEARCHES: Mapping[str, tuple[str | None, Caller, dict[str, Any]]] = {
    "the list alone": (None, MANAGER, {}),
    "failed calls": (None, MANAGER, {"statuses": (Status.FAILED,)}),
    "one agent's calls": (None, MANAGER, {"metadata": (("agent", "agent 7"),)}),
    "calls in Thai, oldest first": (None, MANAGER, {"languages": ("th",), "order": "oldest"}),
    "a word of every call": ("the", MANAGER, {"limit": 100}),
    "a character of every call": ("的", MANAGER, {}),
    "one call of 100": ("onehundredth", MANAGER, {}),
    "one call of 1000": ("onethousandth", MANAGER, {}),
    "one call of 10,000": ("tenthousandth", MANAGER, {"limit": 100}),
    "one call": ("n777", MANAGER, {}),
    "no call": ("unheardof", MANAGER, {}),
    "common words that are rare together": ("onehundredth kündigen", MANAGER, {}),
    "a phrase": ('"cancel my contract"', MANAGER, {}),
    "a phrase of common words": ('"of the and to"', MANAGER, {}),
    "two characters": ("退款", MANAGER, {}),
    "four characters": ("订单客服", MANAGER, {}),
    "a word of the first month only": ("christmas", MANAGER, {}),
    "a common word in a small tenant": ("the", SMALL, {}),
    "a rare word in a small tenant": ("onethousandth", SMALL, {}),
    "a word in a time": ("onethousandth", MANAGER, {"created_after": SPRING, "created_before": SUMMER}),
    "a word of one agent": ("contract", MANAGER, {"metadata": (("agent", "agent 7"),)}),
    "a word, oldest first": ("contract delivery", MANAGER, {"order": "oldest"}),
}


async def measure(address: str, tries: int) -> bool:
    database = Database(address)
    reader, kept = Reader(database), True
    for name, (words, caller, conditions) in SEARCHES.items():
        times, items = [], 0
        for _ in range(tries):
            wanted = Wanted(query=None if words is None else parse(words), **conditions)
            started = time.perf_counter()
            page = await reader.page(wanted, caller)
            times.append(time.perf_counter() - started)
            items = len(page.items)
        p95 = sorted(times)[math.ceil(0.95 * tries) - 1]
        kept = kept and p95 <= PROMISED_SECONDS
        middle = sorted(times)[tries // 2]
        print(f"{name:40} p50 {middle * 1000:6.1f} ms  p95 {p95 * 1000:6.1f} ms  {items} calls", flush=True)
    await database.close()
    return kept


async def play(folder: Path, calls: int, tries: int) -> bool:
    async with filled_database(folder, "transcript_search", partial(fill, calls=calls)) as address:
        return await measure(address, tries)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m proofs.search", description=__doc__)
    parser.add_argument("--calls", type=int, default=1_000_000)
    parser.add_argument("--tries", type=int, default=20, help="how often each search is made")
    parser.add_argument("--keep", type=Path, help="a folder for the database, which a later run uses again")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="callscribe-search-") as folder:
        place = arguments.keep or Path(folder) / "postgres"
        return 0 if asyncio.run(play(place, arguments.calls, arguments.tries)) else 1


if __name__ == "__main__":
    sys.exit(main())
