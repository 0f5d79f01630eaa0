"""`report.csv`, a row for each recording of a batch. It is written row by row, so that its size does not matter."""

import csv
import os
from collections.abc import Iterable
from pathlib import Path

from app.cli.batch.state import Entry
from app.spreadsheets import guarded

FILE_NAME = "report.csv"
COLUMNS = ("path", "status", "error_code", "error_message", "id", "duration", "language", "output", "seconds")


def write_report(folder: Path, entries: Iterable[Entry]) -> Path:
    """Writes the report completely or not at all, and returns its path. Raises OSError."""
    path, part = folder / FILE_NAME, folder / f".{FILE_NAME}.part"
    try:
        with part.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(COLUMNS)
            rows.writerows([guarded(cell) for cell in _cells(entry)] for entry in entries)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return path


def _cells(entry: Entry) -> tuple[object, ...]:
    error = entry.code, entry.message
    return entry.path, entry.status, *error, entry.id, entry.duration, entry.language, entry.output, entry.seconds
