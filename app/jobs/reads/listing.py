"""Which jobs a list shows, and in which order. `scope` decides what a caller may see.

Ids begin with the time at which they were made, so a list that is ordered by id is ordered by time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import ColumnElement, Text, cast, func, literal
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import aliased
from sqlmodel import col, select
from sqlmodel.sql.expression import SelectOfScalar

from app.access.callers import Caller
from app.jobs.lifecycle import Status
from app.jobs.models import Transcription
from app.jobs.reads.metadata_terms import SEPARATOR
from app.jobs.scope import seen_by
from app.search.query import Query

Order = Literal["newest", "oldest"]
# An upload gets its id when it begins, and its `created_at` when it has ended. Both come from different clocks.
LONGEST_UPLOAD, CLOCKS_APART = timedelta(days=1), timedelta(hours=1)


@dataclass(frozen=True)
class Wanted:
    """Which jobs a list shows. A job has to fit all of them.

    `metadata` are names and values, as texts. `also` are further conditions for a row of `transcription`. With
    `not_retried`, no other job is its retry. `cursor` is the id of the last job that the previous page looked at.
    """

    statuses: Sequence[Status] = ()
    languages: Sequence[str] = ()
    external_id: str | None = None
    metadata: Sequence[tuple[str, str]] = ()
    created_after: datetime | None = None
    created_before: datetime | None = None
    also: Sequence[ColumnElement[bool]] = ()
    query: Query | None = None
    tenant: str | None = None
    not_retried: bool = False
    order: Order = "newest"
    cursor: UUID | None = None
    limit: int = 20


def ids(wanted: Wanted, caller: Caller | None, limit: int) -> SelectOfScalar[UUID]:
    """The ids of the first jobs in the order of the list."""
    statement = select(Transcription.id).where(*matching(wanted, caller), *_after(wanted))
    return statement.order_by(in_order(wanted, Transcription.id)).limit(limit)


def in_order(wanted: Wanted, column: Any) -> Any:
    return col(column).desc() if wanted.order == "newest" else col(column)


def _after(wanted: Wanted) -> list[ColumnElement[bool]]:
    return [] if wanted.cursor is None else [behind(wanted, Transcription.id, wanted.cursor)]


def behind(wanted: Wanted, column: Any, cursor: UUID) -> ColumnElement[bool]:
    """Whether an id comes later in the list than the cursor."""
    return col(column) < cursor if wanted.order == "newest" else col(column) > cursor


def matching(wanted: Wanted, caller: Caller | None) -> list[ColumnElement[bool]]:
    """The conditions for a row of `transcription`, except those of the query."""
    conditions = [seen_by(caller), *id_range(wanted, Transcription.id), *wanted.also]
    if wanted.statuses:
        conditions.append(col(Transcription.status).in_(wanted.statuses))
    if wanted.languages:
        conditions.append(col(Transcription.language).in_(wanted.languages))
    if wanted.external_id is not None:
        conditions.append(col(Transcription.external_id) == wanted.external_id)
    if wanted.created_after is not None:
        conditions.append(col(Transcription.created_at) >= wanted.created_after)
    if wanted.created_before is not None:
        conditions.append(col(Transcription.created_at) < wanted.created_before)
    if wanted.tenant is not None:
        conditions.append(col(Transcription.tenant) == wanted.tenant)
    if wanted.not_retried:
        retry = aliased(Transcription)
        conditions.append(~select(retry.id).where(col(retry.retry_of) == Transcription.id).exists())
    if wanted.metadata:
        terms = [f"{name}{SEPARATOR}{value}" for name, value in wanted.metadata]
        known = func.metadata_terms(Transcription.metadata_, type_=ARRAY(Text))
        conditions.append(known.contains(cast(literal(terms, ARRAY(Text)), ARRAY(Text))))
    return conditions


def id_range(wanted: Wanted, column: Any) -> list[ColumnElement[bool]]:
    """The ids that jobs of the wanted time may have. It is wider than that time."""
    conditions = []
    if wanted.created_after is not None:
        conditions.append(col(column) >= _first_id(wanted.created_after - LONGEST_UPLOAD))
    if wanted.created_before is not None:
        conditions.append(col(column) < _first_id(wanted.created_before + CLOCKS_APART))
    return conditions


def _first_id(at: datetime) -> UUID:
    """The lowest UUIDv7 of a millisecond."""
    return UUID(int=max(0, min(int(at.timestamp() * 1000), (1 << 48) - 1)) << 80)
