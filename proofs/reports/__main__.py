"""Measures reports over many calls, on an embedded PostgreSQL: `python -m proofs.reports`. See docs/reports.md."""

import argparse
import asyncio
import math
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from zoneinfo import ZoneInfo

from app.access.callers import Caller
from app.analysis.reports.filters import Filters
from app.analysis.reports.periods import Period
from app.analysis.reports.reading import By, Question, Reports
from app.analysis.reports.views import Asked, Report
from app.database.connections import Database
from app.jobs.reads.listing import Wanted
from proofs.filled_database import filled_database
from proofs.reports.filling import fill

PROMISED_SECONDS = 1.0
MANAGER = Caller("manager")


async def measure(address: str, tries: int) -> bool:
    database = Database(address)
    reports, kept = Reports(database), True
    today = datetime.now(UTC).date()
    period = Period(today - timedelta(days=29), today, ZoneInfo("Europe/Berlin"))
    agent = Wanted(metadata=(("agent", "agent 7"),))
    refunds = Filters(categories=("refund",))
    questions = {
        **{f"by {by}": (by, Wanted(), Filters()) for by in By},
        "by day, of one agent": (By.DAY, agent, Filters()),
        "by agent, in a category": (By.AGENT, Wanted(also=refunds.conditions()), refunds),
    }
    for name, (by, wanted, filters) in questions.items():
        times = []
        for _ in range(tries):
            started = time.perf_counter()
            question = Question(period, by, wanted, 100)
            counted = await reports.read(question, MANAGER)
            read = time.perf_counter()
            report = Report.of(question, Asked(question, filters, ""), counted)
            size = len(report.model_dump_json())
            times.append((time.perf_counter() - started, read - started))
        total = sorted(each[0] for each in times)
        p95 = total[math.ceil(0.95 * tries) - 1]
        kept = kept and p95 <= PROMISED_SECONDS
        counting = sorted(each[1] for each in times)[tries // 2]
        print(
            f"{name:26} p50 {total[tries // 2] * 1000:6.0f} ms (SQL {counting * 1000:.0f} ms)  "
            f"p95 {p95 * 1000:6.0f} ms  "
            f"{report.totals.calls} calls, {len(report.groups)} groups, {size // 1024} kB",
            flush=True,
        )
    await database.close()
    return kept


async def play(folder: Path, calls: int, tries: int) -> bool:
    async with filled_database(folder, "call_facts", partial(fill, calls=calls)) as address:
        return await measure(address, tries)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m proofs.reports", description=__doc__)
    parser.add_argument("--calls", type=int, default=10_000, help="in thirty days, and as many in the days before")
    parser.add_argument("--tries", type=int, default=20, help="how often each report is made")
    parser.add_argument("--keep", type=Path, help="a folder for the database, which a later run uses again")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="callscribe-reports-") as folder:
        place = arguments.keep or Path(folder) / "postgres"
        return 0 if asyncio.run(play(place, arguments.calls, arguments.tries)) else 1


if __name__ == "__main__":
    sys.exit(main())
