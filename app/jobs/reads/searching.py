"""Finds the calls in which something was said, in the order of the list.

PostgreSQL has two ways: to read the list and look into each call, which is fast for common words, and to ask the index
of words, which is fast for rare ones. It knows too little about texts to choose the right one. So a search reads a
bounded part of the list first, and asks the index if that does not fill the page.

A search that would take long ends its page early. The page's cursor says how far it came.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Text, Uuid, and_, cast, func, literal, text
from sqlalchemy.dialects.postgresql import ARRAY, TSQUERY
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.access.callers import Caller
from app.database.connections import Database
from app.jobs.lifecycle import Status
from app.jobs.models import Transcription
from app.jobs.reads import listing
from app.jobs.reads.listing import Wanted
from app.search.lexemes import quoted, tenant_lexeme
from app.search.models import TranscriptSearch
from app.search.query import Query

FIRST_WALK, LONGEST_WALK = 100, 1000  # how many calls of the list are looked into before the index is asked
CANDIDATES = 1000  # calls of the index that are looked into at a time
LONGEST_SECONDS = 0.5
# Of the plans that PostgreSQL might choose instead, some read the words of all calls. One of them is the plan that it
# makes once for all queries.
_BY_INDEX = text("""
    SELECT set_config('enable_seqscan', 'off', true), set_config('enable_indexscan', 'off', true),
           set_config('enable_indexonlyscan', 'off', true), set_config('jit', 'off', true),
           set_config('plan_cache_mode', 'force_custom_plan', true)
""")
_FIRST_ROW = text("transcript_search.part = 0")  # not as a parameter, so that PostgreSQL knows that the index fits


@dataclass(frozen=True)
class Found:
    """The ids of a page. `cursor` says how far the search came; it is None if it came to the end."""

    ids: Sequence[UUID]
    cursor: UUID | None


async def find(database: Database, wanted: Wanted, caller: Caller | None) -> Found:
    assert wanted.query is not None
    if wanted.statuses and Status.COMPLETED not in wanted.statuses:
        return Found((), None)
    wanted = replace(wanted, statuses=(Status.COMPLETED,))
    ends = time.monotonic() + LONGEST_SECONDS
    found: list[UUID] = []
    walked, calls = 0, FIRST_WALK
    while calls:
        async with database.transaction() as session:
            looked_at = await _walk(session, wanted, caller, calls)
        found += [call for call, has in looked_at if has]
        if len(found) > wanted.limit or len(looked_at) < calls:
            return _page(wanted, found, None)
        wanted = replace(wanted, cursor=looked_at[-1][0])
        walked += calls
        calls = _next_walk(walked, len(found), wanted.limit)
    while True:
        candidates = await _candidates(database, wanted, caller)
        async with database.transaction() as session:
            found += await _checked(session, wanted, caller, candidates)
        is_end = len(candidates) < CANDIDATES
        if len(found) > wanted.limit or is_end or time.monotonic() > ends:
            return _page(wanted, found, None if is_end else candidates[-1])
        wanted = replace(wanted, cursor=candidates[-1])


def _next_walk(walked: int, found: int, limit: int) -> int:
    """How many calls to look into next: as many as fill the page if the words stay as frequent, and some more."""
    missing = limit + 1 - found
    enough = missing * walked * 5 // (4 * found) if found else LONGEST_WALK
    return min(LONGEST_WALK - walked, max(FIRST_WALK, enough))


def _page(wanted: Wanted, found: list[UUID], cursor: UUID | None) -> Found:
    if len(found) > wanted.limit:
        return Found(found[: wanted.limit], found[wanted.limit - 1])
    return Found(found, cursor)


async def _walk(session: AsyncSession, wanted: Wanted, caller: Caller | None, calls: int) -> list[tuple[UUID, bool]]:
    """The next calls of the list, each with whether it has what is searched for."""
    assert wanted.query is not None
    listed = listing.ids(wanted, caller, calls).subquery()
    said = and_(_has_words(wanted.query.candidates, listed.c.id), *_has_phrases(wanted.query, listed.c.id))
    rows = await session.exec(select(listed.c.id, said).order_by(listing.in_order(wanted, listed.c.id)))
    return [(call, bool(is_found)) for call, is_found in rows]


async def _candidates(database: Database, wanted: Wanted, caller: Caller | None) -> list[UUID]:
    """The next calls with all words of the query, by the index of words. They may not fit the other conditions."""
    assert wanted.query is not None
    words = wanted.query.candidates
    if caller is not None:
        words = f"({words}) & {quoted(tenant_lexeme(caller.tenant))}"
    conditions: list[Any] = [
        _FIRST_ROW,
        col(TranscriptSearch.words).op("@@")(_tsquery(words)),
        *listing.id_range(wanted, TranscriptSearch.transcription_id),
    ]
    if wanted.cursor is not None:
        conditions.append(listing.behind(wanted, TranscriptSearch.transcription_id, wanted.cursor))
    found = select(TranscriptSearch.transcription_id).where(*conditions).cte().prefix_with("MATERIALIZED")
    statement = select(found.c.transcription_id).order_by(listing.in_order(wanted, found.c.transcription_id))
    async with database.transaction() as session:
        await session.exec(_BY_INDEX)  # type: ignore[call-overload]
        return list((await session.exec(statement.limit(CANDIDATES))).all())


async def _checked(session: AsyncSession, wanted: Wanted, caller: Caller | None, ids: Sequence[UUID]) -> list[UUID]:
    """Those of the calls that fit all conditions, in the order of the list."""
    assert wanted.query is not None
    if not ids:
        return []
    few = literal(list(ids), ARRAY(Uuid))
    statement = select(Transcription.id).where(
        col(Transcription.id) == func.any(few),
        *listing.matching(wanted, caller),
        *_has_phrases(wanted.query, Transcription.id),
    )
    return list((await session.exec(statement.order_by(listing.in_order(wanted, Transcription.id)))).all())


def _has_words(words: str, call: Any) -> ColumnElement[bool]:
    """A value and not a condition, so that PostgreSQL reads the row of one call and nothing else."""
    row = select(col(TranscriptSearch.words).op("@@")(_tsquery(words)))
    return row.where(TranscriptSearch.transcription_id == call, TranscriptSearch.part == 0).scalar_subquery()


def _has_phrases(query: Query, call: Any) -> list[ColumnElement[bool]]:
    """Each phrase is in one row of the call."""
    matches = (func.bool_or(col(TranscriptSearch.words).op("@@")(_tsquery(phrase))) for phrase in query.phrases)
    return [select(match).where(TranscriptSearch.transcription_id == call).scalar_subquery() for match in matches]


def _tsquery(words: str) -> ColumnElement[Any]:
    return cast(literal(words, Text), TSQUERY)
