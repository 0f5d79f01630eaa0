"""Kills `callscribe batch` and the server that it sends to. Each recording must become one job and one whole file."""

import asyncio
import csv
import json
import random
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from proofs.chaos.figures import Figure
from testing.ports import free_ports
from testing.recordings import tone
from testing.service import Service, serving, start_callscribe

PROGRAM = (sys.executable, "-m", "proofs.chaos.process", "--double", "--lease", "4", "--")
NAME = "{}/电话 '#{}?.wav"
SETTLING_SECONDS = 900.0


async def folder_batches(folder: Path, *, recordings: int, kills: int, server_kills: int) -> list[Figure]:
    """Runs one batch of `recordings`, and kills the command `kills` times, and the server `server_kills` times."""
    return await asyncio.to_thread(_figures, folder, recordings, kills, server_kills)


def _figures(folder: Path, recordings: int, kills: int, server_kills: int) -> list[Figure]:
    chosen, calls, out = random.Random(19), folder / "calls", folder / "out"
    names = [NAME.format(number % 7, number) for number in range(recordings)]
    for name in names:
        (calls / name).parent.mkdir(parents=True, exist_ok=True)
        (calls / name).write_bytes(tone())
    port, statuses, served = str(free_ports(1)[0]), list[int](), folder / "service"
    options = ("batch", str(calls), "--server", f"http://127.0.0.1:{port}", "-o", str(out), "--prompt", "sleep 0.15")
    command: subprocess.Popen[str] | None = None
    for restart in range(server_kills + 1):
        with serving(served, program=PROGRAM, port=port) as service:
            command = command or start_callscribe(*options, folder=folder, stderr=subprocess.DEVNULL)
            for _ in range(kills // (server_kills + 1)):
                with suppress(subprocess.TimeoutExpired):  # it has become an interruption in the middle of the work
                    command.wait(chosen.uniform(1.5, 4))
                command.send_signal(chosen.choice([signal.SIGINT, signal.SIGKILL]))
                command.communicate()
                statuses.append(command.returncode)
                command = start_callscribe(*options, folder=folder, stderr=subprocess.DEVNULL)
            if restart < server_kills:
                with suppress(subprocess.TimeoutExpired):
                    command.wait(chosen.uniform(1.5, 4))
                service.kill()
            else:
                command.communicate(timeout=SETTLING_SECONDS)
                return _compared(names, out, _jobs(service), [*statuses, command.returncode])
    raise AssertionError("the last server ends the loop")


def _jobs(service: Service) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    cursor = ""
    while True:
        page = service.read(f"/v1/transcriptions?limit=100{cursor}")
        items += page["items"]
        if page["next_cursor"] is None:
            return items
        cursor = f"&cursor={page['next_cursor']}"


def _compared(names: Sequence[str], out: Path, jobs: Sequence[dict[str, Any]], statuses: Sequence[int]) -> list[Figure]:
    with (out / "report.csv").open(encoding="utf-8", newline="") as file:
        rows = {row["path"]: row for row in csv.DictReader(file)}
    ids = {job["external_id"]: job["id"] for job in jobs}
    written = {name: json.loads((out / f"{name}.json").read_text())["id"] for name in names}
    left_over = [path.name for path in out.rglob(".*") if path.name != ".callscribe-batch.jsonl"]
    return [
        Figure.found("runs of the command that were killed or interrupted", len(statuses) - 1),
        Figure.found(
            "of them, runs that had already ended by themselves", sum(status == 0 for status in statuses[:-1])
        ),
        Figure.none("exit status of the last run", statuses[-1]),
        Figure("jobs", len(jobs), f"{len(names)}", len(jobs) == len(names)),
        Figure.none("files of another job or of none", sum(written[name] != ids.get(name) for name in names)),
        Figure.none("recordings that the report misses", len(set(names) - rows.keys())),
        Figure.none(
            "rows of the report that are not completed", sum(r["status"] != "completed" for r in rows.values())
        ),
        Figure.none("rows with another id than the job", sum(row["id"] != ids.get(name) for name, row in rows.items())),
        Figure.none("half-written files", len(left_over), left_over),
    ]
