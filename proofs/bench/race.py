"""Runs the contenders one after the other, each in its own process, so that none affects the next."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.settings import PREFIX
from proofs.bench.calls import Call, Piece, save
from proofs.bench.contender import SERVICE
from proofs.bench.measure import Run
from proofs.bench.results import Entry, Measured


class ContenderFailed(Exception):
    """Says that a contender ended with an error. The message is the last line of text that it printed."""


@dataclass(frozen=True)
class Race:
    """`folder` holds the models and the service's files. `levels` are the numbers of clients of the service."""

    folder: Path
    calls: Sequence[Call]
    wordless: Sequence[Call]
    levels: tuple[int, ...]

    def run(self, entry: Entry) -> list[Measured]:
        """Runs an entry on the calls, for each level if it has clients. Raises ContenderFailed."""
        runs = self.start(entry.way, self.calls, self.levels)
        wordless = self.start(entry.way, self.wordless, (1,))[0] if entry.hears_sounds else None
        return [Measured(entry, run, wordless) for run in runs]

    def start(self, way: str, calls: Sequence[Call], levels: Sequence[int]) -> list[Run]:
        print(f"{way}: {len(calls)} recordings …", file=sys.stderr, flush=True)
        recordings = self.folder / "recordings.json"
        save(calls, recordings)
        clients = map(str, levels if way == SERVICE else ())
        command = [sys.executable, "-m", "proofs.bench.contender", way, str(recordings), str(self.folder), *clients]
        environment = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise ContenderFailed(f"{way}: {(done.stderr.strip() or str(done.returncode)).splitlines()[-1]}")
        return [_run(row) for row in json.loads(done.stdout.splitlines()[-1])]


def _run(row: dict[str, Any]) -> Run:
    heard = {name: [Piece(**piece) for piece in pieces] for name, pieces in row["heard"].items()}
    return Run(**{**row, "heard": heard})
