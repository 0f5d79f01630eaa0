"""Writes the text that becomes final during an attempt, for clients that read along.

It never delays the engine, and never fails the job: what cannot be written now is written with the next part.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from app.database.connections import Database
from app.database.retries import despite_database_trouble
from app.jobs.claims import parts
from app.jobs.claims.claiming import Claimed
from app.jobs.claims.parts import Part
from app.speech.call.final_text import FinalText
from app.speech.reports import OnFinal
from app.transcripts.transcript import Segment

PAUSE_SECONDS = 1.0  # after trouble; otherwise the engine decides how often there is something to write

log = structlog.stdlib.get_logger("callscribe.jobs")


@asynccontextmanager
async def reported_text(database: Database, job: Claimed, *, wanted: bool) -> AsyncIterator[OnFinal | None]:
    """Gives the function that takes the text while the block runs, or None if no text is wanted.

    When the block has ended, nothing more is written.
    """
    if not wanted:
        yield None
        return
    writer = _PartWriter(database, job)
    writing = asyncio.create_task(writer.run())
    try:
        yield writer.add
    finally:
        writing.cancel()
        await asyncio.wait({writing})


class _PartWriter:
    def __init__(self, database: Database, job: Claimed) -> None:
        self._database = database
        self._job = job
        self._unwritten: tuple[Segment, ...] = ()
        self._until = 0.0
        self._number = 0
        self._has_lease = True
        self._added = asyncio.Event()

    def add(self, text: FinalText) -> None:
        self._unwritten += text.segments
        self._until = text.until
        self._added.set()

    async def run(self) -> None:
        """Write until cancelled, or until the lease is lost."""
        try:
            while self._has_lease:
                await self._added.wait()
                self._added.clear()
                await despite_database_trouble(self._write)
                if self._unwritten and self._has_lease:
                    self._added.set()
                    await asyncio.sleep(PAUSE_SECONDS)
        except Exception:
            log.exception("the text of a running job is not reported any more")

    async def _write(self) -> None:
        """Write all that is not written. If the reply to the COMMIT is lost, the next part replaces this one."""
        part = Part(self._number, self._until, self._unwritten)
        async with self._database.transaction() as session:
            self._has_lease = await parts.write(session, self._job, part)
        self._number += 1
        self._unwritten = self._unwritten[len(part.segments) :]
