"""Calls of other days: a few that were said, or many copies of them."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlmodel import SQLModel
from uuid_utils.compat import uuid7

from app.database.connections import Database
from app.jobs.models import Transcription
from testing.rows import enqueue, execute
from testing.said import said

SAYS = ("Green Garden, how can I help?", "I want to know when my delivery comes, please.")
COPIED = {"transcription": "id", "transcript": "transcription_id", "transcript_search": "transcription_id"}
CHANGED = {
    "id": "made.id",
    "transcription_id": "made.id",
    "created_at": "made.at",
    "audio_key": "made.id::text",
}


def id_at(at: datetime) -> UUID:
    """An id as the service makes it at that time: lists are ordered by it."""
    return UUID(int=(int(at.timestamp() * 1000) << 80) | (uuid7().int & ((1 << 80) - 1)))


async def called(
    database: Database, name: str, at: datetime, *turns: str, agent: str | None = None, **columns: Any
) -> Transcription:
    """A completed call of that time. The queue must be empty."""
    metadata = {} if agent is None else {"agent": agent}
    at = at.astimezone(UTC)
    new: dict[str, Any] = {"id": id_at(at), "created_at": at, "filename": name, "metadata": metadata}
    return await said(database, *(turns or SAYS), **new, **columns)


async def failed(
    database: Database, name: str, code: str, message: str, at: datetime | None = None, **columns: Any
) -> Transcription:
    """A call that failed at that time, or now."""
    at = at or datetime.now(UTC)
    new: dict[str, Any] = {"id": id_at(at), "created_at": at, "completed_at": at, "filename": name}
    return await enqueue(database, **new, status="failed", error_code=code, error_message=message, **columns)


async def copy(database: Database, originals: Sequence[Transcription], count: int, apart: timedelta) -> None:
    """Adds copies of the originals by turns, each `apart` older than the one before it."""
    now = datetime.now(UTC)
    times = [now - apart * number for number in range(1, count + 1)]
    rows = [
        {"original": originals[number % len(originals)].id, "id": id_at(at), "at": at}
        for number, at in enumerate(times)
    ]
    async with database.engine.begin() as connection:
        made = "CREATE TEMPORARY TABLE made (original uuid, id uuid, at timestamptz) ON COMMIT DROP"
        await connection.execute(text(made))
        await connection.execute(text("INSERT INTO made VALUES (:original, :id, :at)"), rows)
        for table, key in COPIED.items():
            columns = [column.name for column in SQLModel.metadata.tables[table].columns]
            values = ", ".join(CHANGED.get(name, f'old."{name}"') for name in columns)
            names = ", ".join(f'"{name}"' for name in columns)
            copied = f"SELECT {values} FROM made JOIN {table} AS old ON old.{key} = made.original"
            await connection.execute(text(f"INSERT INTO {table} ({names}) {copied}"))
    await execute(database, "ANALYZE")
