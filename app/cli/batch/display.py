"""Shows how far a batch is: a progress bar on a terminal, and otherwise one line for each recording."""

import sys
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from app.cli.batch.state import Entry
from app.cli.batch.state import Progress as Status
from app.cli.recordings import printable

PACE_SECONDS = 1800.0  # the time over which the pace is measured, because one recording may take minutes


class Display:
    """Thread-safe. Everything goes to standard error."""

    def __init__(self) -> None:
        self._total = self._done = self._failed = 0
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left:"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=not sys.stderr.isatty(),
            speed_estimate_period=PACE_SECONDS,
        )
        self._task = self._bar.add_task("recordings", total=None, visible=False)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bar.stop()

    def begin(self, total: int) -> None:
        """Shows the bar. `total` recordings are to be done."""
        self._total = total
        self._bar.reset(self._task, total=total, visible=True)

    def show(self, entry: Entry) -> None:
        """Counts the result of a recording, and prints it, unless the bar is enough."""
        self._done += 1
        failed = entry.status is Status.FAILED
        self._failed += failed
        ended = f"failed: {entry.code}: {printable(entry.message or '')}" if failed else str(entry.status)
        if self._bar.disable:
            self.say(f"{self._done} of {self._total}: {printable(entry.path)}: {ended}")
            return
        if failed:
            self.say(f"{printable(entry.path)}: {ended}")
        self._bar.update(self._task, advance=1, description=f"recordings, {self._failed} failed")

    def say(self, line: str) -> None:
        self._bar.console.print(printable(f"callscribe: {line}"), markup=False, highlight=False, soft_wrap=True)
