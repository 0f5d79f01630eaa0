"""Measures how fast the page opens with 10,000 calls, by turns with a page of a few calls: `make page`.

It runs a service on an embedded PostgreSQL with a database for each, and opens both pages in a real browser.
"""

import argparse
import asyncio
import statistics
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
from sqlalchemy import make_url

from app.database.connections import Database, migrate
from app.database.embedded import EmbeddedPostgres
from proofs.chaos.figures import Figure
from testing.browser import Browser, browsing
from testing.dated import called, copy
from testing.service import Service, serving

FEW, MANY = 50, 10_000
PROMISED_MILLISECONDS, PROMISED_RATIO, PROMISED_MOVE_MILLISECONDS = 300, 1.25, 50
APART = timedelta(minutes=5)
# When the first rows are drawn, in milliseconds since the reader asked for the page.
STOPWATCH = """
new MutationObserver((_, observer) => {
  if (!document.querySelector('#calls .row')) return;
  observer.disconnect();
  requestAnimationFrame(() => setTimeout(() => { window.opened = performance.now(); }));
}).observe(document, {childList: true, subtree: true});
"""
MOVES = 50
MOVING = f"""
const row = (number) => document.querySelector(`#calls .row:nth-child(${{number}}) a`);
row(50).focus();
const from = performance.now();
for (let n = 1; n < {MOVES}; n++)
  document.activeElement.dispatchEvent(new KeyboardEvent('keydown', {{key: 'k', bubbles: true}}));
if (document.activeElement !== row(1)) throw new Error('the keys did not lead to the first call');
return (performance.now() - from) / ({MOVES} - 1);
"""


async def made(server: str, calls: int) -> str:
    """Makes a database for so many calls. Returns its address."""
    name = f"calls_{calls}"
    connection = await asyncpg.connect(server)
    await connection.execute(f"CREATE DATABASE {name}")
    await connection.close()
    address = make_url(server).set(database=name).render_as_string(hide_password=False)
    await migrate(address)
    return address


async def fill(address: str, calls: int) -> None:
    """Adds the calls below a running service: it refuses to start without the recordings of its calls."""
    database = Database(address)
    kinds = [await called(database, "call.wav", datetime.now(UTC), agent=agent) for agent in ("Anna", "Li Wei")]
    await copy(database, kinds, calls - len(kinds), APART)
    await database.close()


def opened(service: Service, browser: Browser) -> float:
    """Opens the page. Returns the milliseconds until its first rows were drawn."""
    browser.driver.get(service.url)
    return float(browser.until("window.opened"))


def measure(services: Mapping[int, Service], browser: Browser, openings: int) -> Iterator[Figure]:
    """Opens the pages by turns, so that other programs slow down both."""
    browser.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": STOPWATCH})
    first = {calls: opened(service, browser) for calls, service in services.items()}
    took: dict[int, list[float]] = {calls: [] for calls in services}
    for _ in range(openings):
        for calls, service in services.items():
            took[calls].append(opened(service, browser))
    for calls, times in took.items():
        yield Figure.found(f"{calls} calls: milliseconds until the page is open, the first time", first[calls])
        yield Figure.found(f"{calls} calls: milliseconds until the page is open, median", statistics.median(times))
    best = min(took[MANY])
    yield Figure.at_most(f"{MANY} calls: milliseconds until the page is open, best", best, PROMISED_MILLISECONDS)
    ratio = statistics.median(took[MANY]) / statistics.median(took[FEW])
    yield Figure.at_most(f"median with {MANY} calls, divided by the median with {FEW}", ratio, PROMISED_RATIO)
    move = float(browser.run(MOVING))
    yield Figure.at_most(f"{MANY} calls: milliseconds until a key moves to the next", move, PROMISED_MOVE_MILLISECONDS)


@contextmanager
def postgres(folder: Path) -> Iterator[str]:
    server = EmbeddedPostgres(folder)
    try:
        yield server.start()
    finally:
        server.stop()


def play(folder: Path, openings: int) -> list[Figure]:
    with postgres(folder / "postgres") as server:
        addresses = {calls: asyncio.run(made(server, calls)) for calls in (FEW, MANY)}
        with (
            serving(folder / "few", "--no-executor", DATABASE_URL=addresses[FEW]) as with_few,
            serving(folder / "many", "--no-executor", DATABASE_URL=addresses[MANY]) as with_many,
            browsing(folder / "browser") as browser,
        ):
            for calls, address in addresses.items():
                asyncio.run(fill(address, calls))
            return list(measure({FEW: with_few, MANY: with_many}, browser, openings))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m proofs.page", description=__doc__)
    parser.add_argument("--openings", type=int, default=30, help="how often each page is opened")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="callscribe-page-") as folder:
        figures = play(Path(folder), arguments.openings)
    print(*figures, sep="\n")
    return 0 if all(figure.kept for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
