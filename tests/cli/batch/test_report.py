"""The report of a batch, as spreadsheets and programs read it."""

import csv
from pathlib import Path

from app.cli.batch.report import COLUMNS, write_report
from app.cli.batch.state import Entry, Progress


def test_there_is_one_header_row_and_a_row_for_each_recording(tmp_path: Path) -> None:
    done = Entry(
        'sub/a,"1"\n电.wav', Progress.COMPLETED, 9, 9, id="7", duration=1.5, language="en", output="o", seconds=2.0
    )
    failed = Entry("\udcf1.wav", Progress.FAILED, code="bad_media", message="Broken.")

    written = write_report(tmp_path, iter([done, failed]))

    with written.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert rows == [
        list(COLUMNS),
        ['sub/a,"1"\n电.wav', "completed", "", "", "7", "1.5", "en", "o", "2.0"],
        [r"\udcf1.wav", "failed", "bad_media", "Broken.", "", "", "", "", ""],
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["report.csv"]


def test_a_spreadsheet_runs_no_cell_as_a_formula(tmp_path: Path) -> None:
    entries = [Entry(f"{sign}cmd.wav", Progress.FAILED, code="x", message=f"{sign}1+1") for sign in "=+-@\t\r"]
    with write_report(tmp_path, entries).open(newline="") as file:
        cells = [cell for row in csv.DictReader(file) for cell in (row["path"], row["error_message"])]
    assert len(cells) == 12
    assert all(cell.startswith("'") for cell in cells)
