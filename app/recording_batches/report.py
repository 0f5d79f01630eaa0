"""The report of a recording batch as JSON or CSV, piece by piece, so that its size does not matter. Pure."""

import csv
import io
import json
from collections.abc import AsyncIterator, Sequence
from enum import StrEnum

from app.recording_batches.models import RecordingBatch
from app.recording_batches.reading import ReportRow
from app.recording_batches.views import ReportRecording
from app.spreadsheets import guarded

COLUMNS = (
    "number",
    "url",
    "external_id",
    "status",
    "error_code",
    "error_message",
    "duration",
    "language",
    "outputs",
    "transcription_id",
)


class ReportFormat(StrEnum):
    JSON = "json"
    CSV = "csv"

    @property
    def media_type(self) -> str:
        return {"json": "application/json", "csv": "text/csv"}[self.value]


async def render(
    batch: RecordingBatch, pages: AsyncIterator[Sequence[ReportRow]], target: ReportFormat
) -> AsyncIterator[bytes]:
    """Yields the bytes of the report."""
    if target is ReportFormat.CSV:
        yield _csv([COLUMNS])
        async for page in pages:
            yield _csv([_cells(ReportRecording.of(row, batch)) for row in page])
        return
    head = json.dumps({"id": str(batch.id), "name": batch.name, "status": str(batch.status)}, ensure_ascii=False)
    yield f'{head[:-1]}, "recordings": ['.encode()
    separator = ""
    async for page in pages:
        yield (separator + ",".join(ReportRecording.of(row, batch).model_dump_json() for row in page)).encode()
        separator = ","
    yield b"]}"


def _cells(row: ReportRecording) -> list[object]:
    code, message = (row.error.code, row.error.message) if row.error else ("", "")
    outputs = " ".join(row.outputs)
    cells = [row.url, row.external_id, row.status, code, message, row.duration, row.language, outputs]
    return [row.number, *(guarded(cell) for cell in cells), row.transcription_id]


def _csv(rows: Sequence[Sequence[object]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()
