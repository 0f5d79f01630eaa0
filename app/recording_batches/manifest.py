"""Reads manifests: CSV files with a header row, or files with one JSON object on each line. It reads row by row.

Each row names a recording by its `url`, and may have any other field of `POST /v1/transcriptions/from-url`. It must not
know what the fields mean: `requests` does.
"""

import csv
from codecs import BOM_UTF8
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any

from pydantic_core import from_json

from app.errors import FieldError, InvalidRequest
from app.intake.annotations import classes_of
from app.intake.requests import CreateFromUrl
from app.intake.text_fields import field_of, values_of

MOST_BYTES_OF_LINE = 64 * 1024
DELIMITERS = ",;\t"
ONE_LINE = frozenset({"url", "external_id", "file_name"})  # a line break says that a quote has taken in other rows


@dataclass(frozen=True)
class ManifestRow:
    """The fields of a row that are not empty, as JSON would have them, or what is wrong with the row."""

    number: int
    fields: dict[str, Any]
    error: InvalidRequest | None = None


def read_manifest(file: IO[bytes]) -> Iterator[ManifestRow]:
    """Yields the rows. They are numbered from 1, without the header and without empty lines.

    Raises InvalidRequest if the rest of the file cannot be read.
    """
    start = file.read(len(BOM_UTF8))
    if start != BOM_UTF8:
        file.seek(0)
    lines = _lines(file)
    first = next((line for line in lines if line.strip()), "")
    if first.lstrip().startswith("["):
        raise InvalidRequest("The manifest is a JSON list. Write one JSON object on each line instead.")
    rows = _json_rows(first, lines) if first.lstrip().startswith("{") else _csv_rows(first, lines)
    for number, (values, error) in enumerate(rows, start=1):
        yield ManifestRow(number, {name: value for name, value in values.items() if value not in (None, "")}, error)


Row = tuple[dict[str, Any], InvalidRequest | None]


def _lines(file: IO[bytes]) -> Iterator[str]:
    number = 0
    while line := file.readline(MOST_BYTES_OF_LINE + 1):
        number += 1
        if len(line) > MOST_BYTES_OF_LINE:
            raise InvalidRequest(f"Line {number} of the manifest is longer than {MOST_BYTES_OF_LINE} bytes.")
        try:
            yield line.decode()
        except UnicodeDecodeError:
            raise InvalidRequest(f"Line {number} of the manifest is not UTF-8. Save the file as UTF-8.") from None


def _json_rows(first: str, lines: Iterator[str]) -> Iterator[Row]:
    yield _json_row(first)
    for line in lines:
        if line.strip():
            yield _json_row(line)


def _json_row(line: str) -> Row:
    try:
        values = from_json(line, allow_inf_nan=False)
    except ValueError as error:
        return {}, InvalidRequest(f"This is not JSON: {error}.")
    if not isinstance(values, dict):
        return {}, InvalidRequest("This is not a JSON object.")
    return values, None


def _csv_rows(first: str, lines: Iterator[str]) -> Iterator[Row]:
    delimiter = _delimiter(first)
    names = _names(first, delimiter)
    cells_of_rows = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        line = cells_of_rows.line_num + 2  # where the row begins; the header is line 1
        try:
            cells = next(cells_of_rows)
        except StopIteration:
            return
        except csv.Error as error:
            yield {}, InvalidRequest(f"This row begins in line {line} and is not CSV: {_in_words(error)}.")
            return
        if any(cell.strip() for cell in cells):
            yield _csv_row(names, cells)


def _names(header: str, delimiter: str) -> list[str]:
    try:
        [cells] = csv.reader([header], delimiter=delimiter, strict=True) if header else [[]]
    except csv.Error as error:
        words = _in_words(error)
        raise InvalidRequest("The header of the manifest is not CSV.", errors=(FieldError("header", words),)) from None
    names = [name.strip() for name in cells]
    _check_names(names)
    return names


def _in_words(error: csv.Error) -> str:
    words = str(error)
    if "unexpected end" in words:
        return "a quote is not closed"
    if "new-line character" in words:
        return "its lines end with CR alone: save the file with LF or CRLF"
    if "expected after" in words:
        return "text follows a closing quote, and a quote inside a quoted cell must be doubled"
    return words


def _delimiter(header: str) -> str:
    return max(DELIMITERS, key=header.count)


def _check_names(names: list[str]) -> None:
    if "url" not in names:
        detail = "The first line of a CSV manifest must name its columns, and one of them must be `url`."
        raise InvalidRequest(detail, errors=(FieldError("header", "has no column url"),))
    unknown = [name for name in names if name and not CreateFromUrl.has_field(name)]
    if unknown:
        errors = tuple(FieldError("header", f"{name[:60]} is not a field of a recording") for name in unknown[:20])
        raise InvalidRequest("Some columns of the manifest are not known.", errors=errors)
    repeated = dict.fromkeys(name for name in names if name and names.count(name) > 1 and not _is_list(name))
    if repeated:
        errors = tuple(FieldError("header", f"has the column {name} more than once") for name in repeated)
        raise InvalidRequest("Some columns of the manifest are repeated.", errors=errors)


def _is_list(name: str) -> bool:
    return list in classes_of(CreateFromUrl.model_fields[field_of(name)].annotation)


def _csv_row(names: list[str], cells: list[str]) -> Row:
    if any(cell.strip() for cell in cells[len(names) :]):
        return {}, InvalidRequest("This row has more cells than the header.")
    texts = [(name, cell.strip()) for name, cell in zip(names, cells, strict=False)]
    if any(cell and not name for name, cell in texts):
        return {}, InvalidRequest("This row has a cell in a column without a name.")
    if broken := [name for name, cell in texts if name in ONE_LINE and len(cell.splitlines()) > 1]:
        detail = "must not have line breaks; is a quote not closed?"
        return {}, InvalidRequest(errors=tuple(FieldError(name, detail) for name in broken))
    try:
        return values_of(CreateFromUrl, [(name, cell) for name, cell in texts if name]), None
    except InvalidRequest as error:
        return {}, error
