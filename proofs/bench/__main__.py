"""Compares Callscribe with other engines on the same recordings: `make bench`. See docs/bench.md."""

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from app.speech.whisper.weights import fetch
from proofs.bench.bootstrap import Difference, differences
from proofs.bench.calls import Call, channel_seconds, recordings_in
from proofs.bench.compose import FULL, QUICK, Plan, compose
from proofs.bench.contender import SERVICE
from proofs.bench.lone import LoneRow, lone_calls, lone_rows
from proofs.bench.plot import plot
from proofs.bench.race import ContenderFailed, Race
from proofs.bench.results import ENTRIES, Entry, Measured, Row, machine, rows
from proofs.bench.sounds import wordless
from proofs.bench.sources import sentences
from proofs.bench.table import difference_table, invented_table, lone_table, service_table, table
from proofs.bench.work import MODEL

LEVELS = (1, 4, 12, 24)
OURS = ("c", "d")  # the first of them that was run is compared with (a)
KEPT = Path(__file__).parents[2] / "docs" / "bench"


@dataclass(frozen=True)
class Results:
    """Everything that is saved: the machine, the recordings, and the rows of all contenders and of the service."""

    machine: Mapping[str, str | int]
    recordings: Mapping[str, int | float | list[str]]
    contenders: Sequence[Row]
    service: Sequence[Row]
    differences: Sequence[Difference]
    lone: Sequence[LoneRow]
    failures: Sequence[str]


def main() -> int:
    arguments = _arguments()
    entries = [entry for entry in ENTRIES if arguments.only is None or entry.letter in arguments.only]
    with tempfile.TemporaryDirectory(prefix="callscribe-bench-") as name:
        results = _results(Path(name), arguments.folder, QUICK if arguments.quick else FULL, entries)
    tables = [
        table(results.contenders),
        service_table(results.service) if results.service else "",
        difference_table(results.differences) if results.differences else "",
        lone_table(results.lone) if results.lone else "",
        invented_table(results.contenders) if any(row.invented for row in results.contenders) else "",
    ]
    print(*filter(None, tables), sep="\n\n")
    output = arguments.output or (None if arguments.folder or arguments.quick or arguments.only else KEPT)
    if output:
        _keep(results, output)
    return 1 if results.failures else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m proofs.bench", description=__doc__)
    parser.add_argument(
        "folder", nargs="?", type=Path, help="folder of recordings; the default is calls composed from test speech"
    )
    parser.add_argument("--quick", action="store_true", help="a few short calls")
    parser.add_argument(
        "--only", nargs="+", choices=[entry.letter for entry in ENTRIES], help="run only these contenders"
    )
    parser.add_argument(
        "--output", type=Path, help="folder for the results; by default only the results of a full run are saved"
    )
    return parser.parse_args()


def _results(folder: Path, own_recordings: Path | None, plan: Plan, entries: Sequence[Entry]) -> Results:
    fetch(MODEL, folder / "models")
    calls, sources = _recordings(folder, own_recordings, plan)
    facts: dict[str, int | float | list[str]] = {
        "calls": len(calls),
        "channel_seconds": round(channel_seconds(calls)),
        "sources": sources,
    }
    print(", ".join(f"{name}: {fact}" for name, fact in facts.items()), file=sys.stderr)
    levels = (*(level for level in LEVELS if level < len(calls)), len(calls))
    race = Race(folder, calls, wordless(folder, plan.wordless_seconds), levels)
    measured, failures = _raced(race, entries)
    lone = _lone(race) if plan is FULL and {"a", "d"} <= {each.entry.letter for each in measured} else []
    all_rows = rows(measured, calls, race.wordless)
    service = [row for row in all_rows if row.way == SERVICE]
    contenders = [row for row in all_rows if row not in service[:-1]]
    return Results(machine(), facts, contenders, service, _differences(measured, calls), lone, failures)


def _raced(race: Race, entries: Sequence[Entry]) -> tuple[list[Measured], list[str]]:
    """Runs the entries one after the other. Returns their runs, and why others failed."""
    measured: list[Measured] = []
    failures = []
    for entry in entries:
        if entry.program and shutil.which(entry.program) is None:
            print(f"{entry.letter} is skipped, because {entry.program} is not installed", file=sys.stderr)
            continue
        try:
            measured += race.run(entry)
        except ContenderFailed as error:
            failures.append(f"{entry.letter}: {error}")
            print(failures[-1], file=sys.stderr)
    return measured, failures


def _lone(race: Race) -> list[LoneRow]:
    calls = lone_calls(race.folder, sentences()[0])
    [theirs], [ours] = race.start("transcribe", calls, ()), race.start(SERVICE, calls, (1,))
    return lone_rows(calls, theirs, ours)


def _differences(measured: Sequence[Measured], calls: Sequence[Call]) -> list[Difference]:
    heard = {each.entry.letter: each.run.heard for each in measured}
    ours = next((letter for letter in OURS if letter in heard), None)
    if ours is None or "a" not in heard:
        return []
    return differences(calls, (ours, heard[ours]), ("a", heard["a"]))


def _recordings(folder: Path, own_recordings: Path | None, plan: Plan) -> tuple[list[Call], list[str]]:
    """Returns the calls to transcribe, and the names of their sources."""
    if own_recordings:
        if not (calls := recordings_in(own_recordings)):
            sys.exit(f"{own_recordings} contains no recording")
        return calls, [own_recordings.name]
    speech, sources = sentences()
    return compose(folder, plan, speech), sources


def _keep(results: Results, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(asdict(results), indent=2, ensure_ascii=False)
    (folder / "results.json").write_text(text + "\n")
    if results.service:
        caption = f"{results.machine['processor']}, {results.machine['cores']} cores, {results.machine['date']}"
        (folder / "service.svg").write_text(plot(results.service, caption))


if __name__ == "__main__":
    sys.exit(main())
