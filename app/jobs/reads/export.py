"""Writes chosen calls into one file, piece by piece: a table, or a ZIP of transcripts.

A call that does not exist, or that the caller may not see, has the status `not_found` in the table.
"""

import asyncio
import csv
import io
import json
import re
import zipfile
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import PurePath
from uuid import UUID

from app.jobs.models import Transcription, stored_transcripts
from app.sources.names import shown_url
from app.spreadsheets import BYTE_ORDER_MARK, guarded
from app.transcripts.formats import Format, endings, render

NOT_FOUND = "not_found"
FACTS = (
    "id",
    "status",
    "external_id",
    "created_at",
    "completed_at",
    "filename",
    "source",
    "duration",
    "language",
    "speakers",
    "error_code",
    "error_message",
    "agent",
    "metadata",
)
TABLE_NAME = "calls.csv"


class ExportFormat(StrEnum):
    CSV = "csv"
    ZIP = "zip"

    @property
    def media_type(self) -> str:
        return {"csv": "text/csv", "zip": "application/zip"}[self.value]


@dataclass(frozen=True)
class Exported:
    """A call of an export. Without a job there is no such call; `stored` is the transcript, if there is one."""

    id: UUID
    job: Transcription | None
    stored: str | None


async def render_export(
    calls: AsyncIterator[Exported], target: ExportFormat, transcript_format: Format
) -> AsyncIterator[bytes]:
    """Yields the bytes of the file."""
    if target is ExportFormat.CSV:
        yield _csv([(*FACTS, "text")], BYTE_ORDER_MARK)
        async for call in calls:
            yield await asyncio.to_thread(_row_with_text, call)
        return
    written = _Written()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archive:
        rows: list[Sequence[object]] = [(*FACTS, "file")]
        async for call in calls:
            name = _file_name(call, transcript_format) if call.job is not None and call.stored is not None else ""
            if name:
                await asyncio.to_thread(_add, archive, name, call, transcript_format)
            rows.append((*_facts(call), name))
            yield written.taken()
        archive.writestr(TABLE_NAME, _csv(rows, BYTE_ORDER_MARK))
    yield written.taken()


def _row_with_text(call: Exported) -> bytes:
    text = "" if call.stored is None else _rendered(call, Format.TEXT)
    return _csv([(*_facts(call), guarded(text))])


def _facts(call: Exported) -> list[object]:
    job = call.job
    if job is None:
        return [call.id, NOT_FOUND, *[""] * (len(FACTS) - 2)]
    speakers = "; ".join(f"{speaker['label']} {speaker['speech_seconds']:.0f} s" for speaker in job.speakers or ())
    metadata = json.dumps(job.metadata_, ensure_ascii=False) if job.metadata_ else ""
    cells = [
        job.status,
        job.external_id,
        _time(job.created_at),
        _time(job.completed_at),
        job.filename,
        shown_url(job.source),
        job.duration,
        job.language,
        speakers,
        job.error_code,
        job.error_message,
        _agent(job),
        metadata,
    ]
    return [job.id, *map(guarded, cells)]


def _agent(job: Transcription) -> object:
    """The agent in the metadata, which a client may send as text or as an object with a name, as the page shows it."""
    agent = job.metadata_.get("agent")
    if isinstance(agent, dict):
        agent = agent.get("name") or agent.get("id")
    return None if isinstance(agent, dict | list) else agent


def _time(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat(timespec="seconds")


def _csv(rows: Sequence[Sequence[object]], mark: str = "") -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return (mark + text.getvalue()).encode()


def _add(archive: zipfile.ZipFile, name: str, call: Exported, form: Format) -> None:
    archive.writestr(name, _rendered(call, form))


def _rendered(call: Exported, form: Format) -> str:
    assert call.stored is not None
    return render(stored_transcripts.validate_json(call.stored), str(call.id), form)


def _file_name(call: Exported, form: Format) -> str:
    """The call's own name, made safe for every system of files, and its id, which no other call has."""
    assert call.job is not None
    own = call.job.external_id or PurePath(call.job.filename or "").stem
    safe = re.sub(r"[^\w.-]+", "_", own).strip("._")[:60]
    return f"{safe}-{call.id}.{endings([form])[form]}" if safe else f"{call.id}.{endings([form])[form]}"


class _Written(io.RawIOBase):
    """Keeps what a ZIP archive writes until somebody takes it."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, piece: bytes) -> int:  # type: ignore[override]
        self._pieces.append(bytes(piece))
        return len(piece)

    def taken(self) -> bytes:
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)
