"""Reads the audit, newest first, page by page."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from sqlalchemy import tuple_
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.access.audit import Action, AuditEntry

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
CURSOR = re.compile(r"(\d{1,17})-(\d{1,18})")


@dataclass(frozen=True)
class WantedEntries:
    """Which entries a page shows: those from `first` until before `end`. `before` is the last one of the page before.

    It has its time in microseconds and its number.
    """

    first: datetime | None = None
    end: datetime | None = None
    caller: str | None = None
    tenant: str | None = None
    action: Action | None = None
    transcription_id: UUID | None = None
    before: tuple[int, int] | None = None
    limit: int = 100


def cursor_of(entry: AuditEntry) -> str:
    return f"{(entry.at - EPOCH) // timedelta(microseconds=1)}-{entry.id}"


def parsed_cursor(text: str) -> tuple[int, int]:
    """Raises ValueError."""
    found = CURSOR.fullmatch(text)
    if found is None:
        raise ValueError("is no `next_cursor` of an earlier page")
    return int(found[1]), int(found[2])


async def page(session: AsyncSession, wanted: WantedEntries) -> tuple[Sequence[AuditEntry], bool]:
    """Returns the entries, and whether they are the last ones."""
    place = tuple_(col(AuditEntry.at), col(AuditEntry.id))
    statement = select(AuditEntry).order_by(col(AuditEntry.at).desc(), col(AuditEntry.id).desc())
    for column, value in (
        (AuditEntry.caller, wanted.caller),
        (AuditEntry.tenant, wanted.tenant),
        (AuditEntry.action, wanted.action),
        (AuditEntry.transcription_id, wanted.transcription_id),
    ):
        if value is not None:
            statement = statement.where(col(column) == value)
    if wanted.first is not None:
        statement = statement.where(col(AuditEntry.at) >= wanted.first)
    if wanted.end is not None:
        statement = statement.where(col(AuditEntry.at) < wanted.end)
    if wanted.before is not None:
        microseconds, number = wanted.before
        statement = statement.where(place < tuple_(EPOCH + timedelta(microseconds=microseconds), number))
    entries = (await session.exec(statement.limit(wanted.limit + 1))).all()
    return entries[: wanted.limit], len(entries) <= wanted.limit
