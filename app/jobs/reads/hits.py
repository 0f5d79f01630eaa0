"""Reads the places of calls where something was said that was searched for."""

import asyncio
from collections.abc import Mapping, Sequence
from uuid import UUID

from sqlmodel import col, select

from app.database.connections import Database
from app.jobs.models import StoredTranscript, stored_transcripts
from app.search.hits import NO_HITS, Hits, hits
from app.search.query import Query

CALLS_AT_ONCE = 4  # so that a page of long calls neither fills the memory nor delays the pages of others for long


class HitReader:
    """Reads some calls of a page at a time. Pages take turns, because long calls of one page must not delay others."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._some_calls = asyncio.Lock()

    async def of(self, ids: Sequence[UUID], query: Query) -> Mapping[UUID, Hits]:
        found: dict[UUID, Hits] = {}
        for start in range(0, len(ids), CALLS_AT_ONCE):
            async with self._some_calls:  # the one that has waited longest is next
                found |= await self._hits_of(ids[start : start + CALLS_AT_ONCE], query)
        return {call: found.get(call, NO_HITS) for call in ids}

    async def _hits_of(self, ids: Sequence[UUID], query: Query) -> dict[UUID, Hits]:
        async with self._database.transaction() as session:
            rows = (
                await session.exec(select(StoredTranscript).where(col(StoredTranscript.transcription_id).in_(ids)))
            ).all()
        return {row.transcription_id: await asyncio.to_thread(_hits, row.transcript, query) for row in rows}


def _hits(stored: str, query: Query) -> Hits:
    return hits(stored_transcripts.validate_json(stored).segments, query)
