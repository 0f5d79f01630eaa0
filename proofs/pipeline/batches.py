"""A batch that is fed through several SIGKILLs, its report compared with the truth, and the speed of feeding.

    python -m proofs.pipeline.batches [ROWS [KILLS [FED_ROWS]]]

The recordings come from a server on the loopback. The engine is a double that fails if a recording's prompt says so.
"""

import asyncio
import csv
import io
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from unittest.mock import patch

import psutil

from app.database.connections import Database, migrate
from app.database.embedded import EmbeddedPostgres
from app.recording_batches import feeding
from proofs.chaos.figures import Figure
from testing.listening import listening
from testing.origin import answering
from testing.recordings import tone
from testing.rows import execute
from testing.service import PROGRAM, Service, serving

ROWS, KILLS = 20_000, 4
DOUBLE = (PROGRAM[0], "-m", "proofs.chaos.process", "--double", "--lease", "6", "--")
FAILS_EACH = 97
MEBIBYTE = 1 << 20
MOST_GROWTH_MIB = 40
FED_ROWS = 100_000
MOST_MILLISECONDS = 1.0


def manifest(url: str, rows: int) -> bytes:
    """Returns a manifest. Each recording has a URL of its own, and some of them an order to fail."""
    lines = ["url,external_id,prompt"]
    lines += [f"{url}?{number},call-{number},{'fail' if is_bad(number) else ''}" for number in range(1, rows + 1)]
    return "\n".join(lines).encode()


def is_bad(number: int) -> bool:
    return number % FAILS_EACH == 0


def killed(folder: Path, *, rows: int = ROWS, kills: int = KILLS) -> list[Figure]:
    """Feeds a batch whose process is killed several times, at equal parts of the batch."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = {"ALLOWED_NETWORKS": "127.0.0.0/8", "MAX_PENDING": "10", "MIN_FREE_BYTES": "0", "LOG_LEVEL": "warning"}
    with answering() as origin:
        origin.answers["/call.wav"] = lambda exchange: exchange.whole(tone())
        path = ""
        growth = list[float]()
        for part in range(1, kills + 2):
            with serving(folder, program=DOUBLE, **settings) as service:
                path = path or _posted(service, manifest(origin.url("/call.wav"), rows))
                first = 0.0
                for ended in _ended(service, path, rows * part // (kills + 1), rows, is_last=part == kills + 1):
                    first = first or (_memory(service) if ended > rows // 100 else 0.0)
                growth.append(_memory(service) - first)
                if part <= kills:
                    service.kill()
                    continue
                return _judged(service, path, rows, len(origin.asked), max(growth))
    raise AssertionError


def _posted(service: Service, content: bytes) -> str:
    answer = service.client.post("/v1/batches", files={"file": ("calls.csv", content)}, data={"name": "proof"})
    assert answer.status_code == 202, answer.text
    path: str = answer.json()["links"]["self"]
    return path


def _ended(service: Service, path: str, enough: int, rows: int, *, is_last: bool) -> Iterator[int]:
    """Yields how many recordings have ended, until enough have or, in the last part, until the batch has ended."""
    while True:
        batch = service.read(path)
        counts = batch["counts"]
        assert sum(counts.values()) == 2 * counts["total"] == 2 * rows, counts
        assert counts["pending"] <= feeding.MOST_WAITING_JOBS + 100, counts  # those that a lost worker gave back
        ended = counts["completed"] + counts["failed"]
        yield ended
        if batch["status"] == "completed" if is_last else ended >= enough:
            return
        time.sleep(0.5)


def _memory(service: Service) -> float:
    return float(psutil.Process(service.process.pid).memory_info().rss / MEBIBYTE)


def _judged(service: Service, path: str, rows: int, fetches: int, growth: float) -> list[Figure]:
    report = list(csv.DictReader(io.StringIO(service.client.get(f"{path}/report?format=csv").text)))
    wrong = [row for number, row in enumerate(report, start=1) if not _is_true(row, number)]
    jobs = Counter(row["transcription_id"] for row in report)
    listed = _all_jobs(service)
    return [
        Figure("rows of the report", len(report), str(rows), len(report) == rows),
        Figure.none("rows that differ from the truth", len(wrong), [str(row) for row in wrong[:5]]),
        Figure.none("jobs that two rows have", sum(count > 1 for count in jobs.values())),
        Figure.none("jobs that no row has", len(listed - set(jobs))),
        Figure.none("recordings with two jobs", len(listed) - rows),
        Figure.found("fetches beyond the first, because a process was killed", fetches - rows),
        Figure.within("growth of the memory of a process, MiB", round(growth, 1), MOST_GROWTH_MIB),
    ]


def _is_true(row: dict[str, str], number: int) -> bool:
    status, code = ("failed", "transcription_failed") if is_bad(number) else ("completed", "")
    expected = (str(number), f"call-{number}", status, code)
    return (row["number"], row["external_id"], row["status"], row["error_code"]) == expected


def _all_jobs(service: Service) -> set[str]:
    found, query = set[str](), ""
    while True:
        page = service.read(f"/v1/transcriptions?limit=100{query}")
        found |= {job["id"] for job in page["items"]}
        if page["next_cursor"] is None:
            return found
        query = f"&cursor={page['next_cursor']}"


async def speed(folder: Path, *, rows: int = FED_ROWS) -> list[Figure]:
    """Measures what posting, feeding, counting and reporting cost, for a batch whose jobs nobody runs."""
    with ExitStack() as stack:
        postgres = EmbeddedPostgres(folder / "postgres")
        address = await asyncio.to_thread(postgres.start)
        stack.callback(postgres.stop)
        await migrate(address)
        stack.enter_context(patch.object(feeding, "MOST_WAITING_JOBS", rows))
        database = Database(address)
        async with listening(database, folder) as served:
            started = time.monotonic()
            content = manifest("https://recordings.example.com/call.wav", rows)
            answer = await served.client.post("/v1/batches", files={"file": ("calls.csv", content)}, timeout=600)
            assert answer.status_code == 202, answer.text
            posting, before = time.monotonic() - started, psutil.Process().memory_info().rss
            started = time.monotonic()
            await served.service.feeder.look_after_all()
            fed, growth = time.monotonic() - started, (psutil.Process().memory_info().rss - before) / MEBIBYTE
            await execute(database, "UPDATE transcription SET status = 'completed', completed_at = now()")
            figures = [
                Figure.found("posting, ms for each row", round(1000 * posting / rows, 3)),
                Figure.at_most("feeding, ms for each row", round(1000 * fed / rows, 3), MOST_MILLISECONDS),
                Figure.within("growth of the memory while feeding, MiB", round(growth, 1), MOST_GROWTH_MIB),
            ]
            for what, query in (
                ("a batch", ""),
                ("its report", "/report"),
                ("its report in CSV", "/report?format=csv"),
            ):
                started = time.monotonic()
                read = await served.client.get(answer.json()["links"]["self"] + query)
                assert read.status_code == 200, read.text
                figures.append(Figure.found(f"reading {what}, s", round(time.monotonic() - started, 3)))
        await database.close()
    return figures


async def batches(folder: Path) -> list[Figure]:
    """Plays both scenarios, for `make pipeline`."""
    fed_through_kills = await asyncio.to_thread(killed, folder / "killed")
    (folder / "speed").mkdir()
    return [*fed_through_kills, *await speed(folder / "speed")]


def main() -> int:
    asked = [int(value) for value in sys.argv[1:]]
    rows, kills, fed = [*asked, *(ROWS, KILLS, FED_ROWS)[len(asked) :]]
    with tempfile.TemporaryDirectory(prefix="callscribe-batches-") as folder:
        (Path(folder) / "speed").mkdir()
        figures = killed(Path(folder) / "killed", rows=rows, kills=kills)
        print(f"killed, {rows} rows", *figures, sep="\n  ", flush=True)
        fast = asyncio.run(speed(Path(folder) / "speed", rows=fed))
        print(f"speed, {fed} rows", *fast, sep="\n  ", flush=True)
    return 0 if all(figure.kept for figure in [*figures, *fast]) else 1


if __name__ == "__main__":
    sys.exit(main())
