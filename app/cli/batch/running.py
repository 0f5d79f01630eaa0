"""One run of `callscribe batch`: opens what it needs, does the work, writes the report, and says how it ended."""

import signal
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app import wording
from app.cli.batch.display import Display
from app.cli.batch.listing import recordings_below
from app.cli.batch.patience import Patience
from app.cli.batch.report import FILE_NAME as REPORT
from app.cli.batch.report import write_report
from app.cli.batch.server import Server, open_client
from app.cli.batch.state import FILE_NAME, About, Entry, Progress, State, Unusable
from app.cli.batch.work import Stopped, Work
from app.process.folders import sync_folder
from app.transcripts.formats import Format

FAILED, UNUSABLE, INTERRUPTED = 1, 2, 128 + signal.SIGINT
RESUME = "To resume, run the same command again"


@dataclass(frozen=True)
class Order:
    """What the command line asks for. `fields` are those of each request to the server."""

    folder: Path
    output_dir: Path
    server: str
    key: str | None
    form: Format
    fields: dict[str, Any]
    together: int
    retry_failed: bool


def exit_status(order: Order) -> int:
    """Runs the batch. Prints what went wrong, and returns the exit status of the command."""
    display = Display()
    try:
        with display:
            return _run(order, display)
    except Unusable as error:
        display.say(str(error))
        return UNUSABLE
    except Stopped as error:
        display.say(f"{error}. {RESUME}")
        return FAILED
    except KeyboardInterrupt:
        display.say(f"interrupted. {RESUME}")
        return INTERRUPTED


def _run(order: Order, display: Display) -> int:
    """Raises Unusable and Stopped. State and client stay open, because threads may use them until the process ends."""
    server = Server(open_client(order.server, order.key, order.together + 1), Patience(display.say))
    server.greet()
    state = _opened(order)
    unreadable: list[Entry] = []
    listed = recordings_below(order.folder, order.output_dir, lambda path, error: unreadable.append(_lost(path, error)))
    if not listed and not unreadable:
        raise Unusable(f"no recording in {order.folder}")
    work = Work(order.folder, order.output_dir, order.form, order.fields, server, state)
    paths = [*listed, *_posted_and_gone(state, set(listed))]
    needed = work.needed(paths, retry_failed=order.retry_failed)
    if len(needed) < len(paths):
        display.say(f"{len(paths) - len(needed)} of {len(paths)} recordings have their result from an earlier run")
    display.begin(len(needed))
    work.run(needed, order.together, display.show)
    return _reported(order, state, {*listed, *state}, unreadable, display)


def _opened(order: Order) -> State:
    """Raises Unusable."""
    try:
        order.output_dir.mkdir(parents=True, exist_ok=True)
        state = State(order.output_dir / FILE_NAME, About(str(order.folder), order.form, order.fields))
        sync_folder(order.output_dir)
    except OSError as error:
        raise Unusable(f"--output-dir: {order.output_dir}: {wording.of_disk(error)}") from None
    return state


def _posted_and_gone(state: State, listed: Collection[str]) -> list[str]:
    """Returns the recordings that an earlier run uploaded, and that somebody has removed since."""
    gone = [entry for path in state if path not in listed and (entry := state[path])]
    return [entry.path for entry in gone if entry.status is Progress.POSTED]


def _lost(path: str, error: OSError) -> Entry:
    message = f"The folder cannot be listed: {error.strerror}."
    return Entry(path or ".", Progress.FAILED, code="folder_not_readable", message=message)


def _reported(order: Order, state: State, paths: Collection[str], unreadable: list[Entry], display: Display) -> int:
    """Writes the report, and returns the exit status. Raises Stopped."""
    counts = Counter({Progress.FAILED: len(unreadable)})

    def entries() -> Iterator[Entry]:
        for entry in filter(None, map(state.__getitem__, sorted(paths))):
            counts[entry.status] += 1
            yield entry
        yield from unreadable

    try:
        written = write_report(order.output_dir, entries())
    except OSError as error:
        raise Stopped(f"{order.output_dir / REPORT}: {error.strerror or error}") from None
    failed = counts[Progress.FAILED]
    display.say(f"{counts[Progress.COMPLETED]} of {counts.total()} transcribed, {failed} failed; see {written}")
    if failed:
        display.say("To try the failed ones again, add --retry-failed")
    return FAILED if failed else 0
