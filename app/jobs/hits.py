"""Reads the places of calls where something was said that was searched for."""

import asyncio
from collections.abc import Mapping, Sequence
from uuid import UUID

from sqlmodel import col, select

from app.database.connections import Database
from app.jobs.models import StoredTranscript, stored_transcripts
from app.search.hits import Hit, hits
from app.search.query import Query

CALLS_AT_ONCE = 10  # so that the transcripts of a page are not all in memory together


class HitReader:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._one_page = asyncio.Lock()

    async def of(self, ids: Sequence[UUID], query: Query) -> Mapping[UUID, Sequence[Hit]]:
        found: dict[UUID, Sequence[Hit]] = {}
        async with self._one_page:
            for start in range(0, len(ids), CALLS_AT_ONCE):
                some = col(StoredTranscript.transcription_id).in_(ids[start : start + CALLS_AT_ONCE])
                async with self._database.transaction() as session:
                    rows = (await session.exec(select(StoredTranscript).where(some))).all()
                for row in rows:
                    found[row.transcription_id] = await asyncio.to_thread(_hits, row.transcript, query)
        return {call: found.get(call, ()) for call in ids}


def _hits(stored: str, query: Query) -> list[Hit]:
    return hits(stored_transcripts.validate_json(stored).segments, query)
