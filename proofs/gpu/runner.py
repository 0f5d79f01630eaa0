"""Runs steps within a limit of time, prints each result when it is there, and keeps all of them in a file."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from app.settings import PREFIX
from proofs.gpu.plan import Plan, Result

ROOT = Path(__file__).parents[2]


@dataclass
class Runner:
    """`output` gets everything again after each result, so that a run that is killed leaves what it measured."""

    output: Path
    seconds: float
    facts: dict[str, Any]
    environment: dict[str, str] = field(default_factory=dict)
    steps: list[dict[str, Any]] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)

    @property
    def seconds_left(self) -> float:
        return self.seconds - (time.monotonic() - self.started)

    def run(
        self, name: str, title: str, plan: Plan, *, limit: float = 150, environment: Mapping[str, str] | None = None
    ) -> list[Result]:
        """Runs a step in its own process. Returns its results; fewer if it fails or runs out of time."""
        step: dict[str, Any] = {"step": name, "title": title, "results": [], "failed": None}
        self.steps.append(step)
        print(f"\n## {title}\n", flush=True)
        limit = min(limit, self.seconds_left)
        if limit < 1:
            step["failed"] = "no time was left"
        else:
            command = [sys.executable, "-m", "proofs.gpu.step", name, plan.dumped()]
            step["failed"] = self._follow(step["results"], command, {**self.environment, **(environment or {})}, limit)
        if step["failed"]:
            print(f"failed: {step['failed']}", flush=True)
        self._keep()
        results: list[Result] = step["results"]
        return results

    def skip(self, title: str, reason: str) -> None:
        self.steps.append({"title": title, "results": [], "skipped": reason})
        print(f"\n## {title}\n\nskipped: {reason}", flush=True)
        self._keep()

    @property
    def failures(self) -> list[str]:
        return [f"{step['title']}: {step['failed']}" for step in self.steps if step.get("failed")]

    def _follow(
        self, results: list[Result], command: Sequence[str], more: Mapping[str, str], limit: float
    ) -> str | None:
        """Returns why the step failed, or None."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
        with TemporaryFile("w+") as errors:
            with (
                subprocess.Popen(
                    command,
                    cwd=ROOT,
                    env=inherited | dict(more),
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    text=True,
                    start_new_session=True,
                ) as process,
                _ended_after(process, limit) as late,
            ):
                assert process.stdout
                for line in process.stdout:
                    if line.startswith("{"):
                        results.append(json.loads(line))
                        print_result(results)
                        self._keep()
                code = process.wait()
            errors.seek(0)
            last = (errors.read().strip().splitlines() or [f"exit code {code}"])[-1]
        return f"it took more than {limit:.0f} s" if late.is_set() else last if code else None

    def _keep(self) -> None:
        self.output.mkdir(parents=True, exist_ok=True)
        text = json.dumps({**self.facts, "steps": self.steps}, indent=2, ensure_ascii=False, default=str)
        (self.output / "results.json").write_text(text + "\n")


@contextmanager
def _ended_after(process: "subprocess.Popen[str]", seconds: float) -> Iterator[threading.Event]:
    """Ends the process and its children when the time is over, or when the block is left early by Ctrl-C."""
    late = threading.Event()

    def end() -> None:
        late.set()
        _kill(process)

    timer = threading.Timer(seconds, end)
    timer.start()
    try:
        yield late
    finally:
        timer.cancel()
        if process.poll() is None:
            _kill(process)


def _kill(process: "subprocess.Popen[str]") -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def print_result(results: Sequence[Result]) -> None:
    """Prints the last result as a row of a table, under a head if it is the first one."""
    result = results[-1]
    if "rows" in result:
        return  # the table of the contenders is printed when it is whole
    columns = list(result)
    if len(results) == 1 or list(results[-2]) != columns:
        print(f"| {' | '.join(columns)} |\n|{' --- |' * len(columns)}", flush=True)
    print(f"| {' | '.join(written(name, result[name]) for name in columns)} |", flush=True)


def written(name: str, value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, float):
        return str(value)
    if name in {"WER", "differs from CPU"}:
        return f"{value:.1%}"
    return f"{value:.4f}" if value < 0.1 else f"{value:.2f}" if value < 10 else f"{value:.0f}"
