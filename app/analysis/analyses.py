"""What clients do with analyses: they read them, and ask for them again, for one call or for many.

`jobs.scope` decides what a caller may see.
"""

from dataclasses import dataclass, replace
from uuid import UUID

from sqlmodel import select

from app.access import audit
from app.access.audit import Action
from app.access.callers import Caller
from app.analysis import queue
from app.analysis.models import Analysis, AnalysisStatus
from app.analysis.views import AnalysesAskedOut, AnalysesWaitingOut, AnalysisOut
from app.analysis.wanted import Wanted
from app.database.connections import Database
from app.errors import NotCompleted, NotFound
from app.jobs.lifecycle import Status
from app.jobs.models import Transcription, unknown
from app.jobs.reads import listing
from app.jobs.scope import seen_by

CHUNK = 1000  # calls in one transaction
MOST_AT_ONCE = 20_000  # calls in one request


@dataclass(frozen=True)
class Analyses:
    database: Database
    wanted: Wanted

    async def read(self, transcription_id: UUID, caller: Caller) -> AnalysisOut:
        """Raises NotFound if there is no such transcription or no analysis of it, and NotCompleted before its end.

        The audit has an entry, because the analysis tells what was said.
        """
        statement = select(Transcription.status, Analysis).outerjoin(Analysis)
        statement = statement.where(Transcription.id == transcription_id, seen_by(caller))
        async with self.database.transaction() as session:
            found = (await session.exec(statement)).first()
            if found is None:
                raise unknown(transcription_id)
            status, row = found
            if row is None and status != Status.COMPLETED:
                raise NotCompleted(f"The transcription is {status}, so it has no analysis.")
            if row is None:
                raise NotFound(
                    "The call was not analysed. To have it analysed, POST to `analyse` of the transcription."
                )
            await audit.note_read(session, Action.ANALYSIS_READ, caller, [transcription_id])
        return AnalysisOut.of(row)

    async def ask(self, transcription_id: UUID, caller: Caller) -> AnalysisOut:
        """Queue the analysis, once more if it has ended. Raises NotFound, NotCompleted and NothingToAnalyse."""
        async with self.database.transaction() as session:
            row = await queue.ask(session, transcription_id, caller, self.wanted)
        return AnalysisOut.of(row)

    async def ask_many(self, calls: listing.Wanted, caller: Caller, *, judge: bool) -> AnalysesAskedOut:
        """Queue the analyses of up to MOST_AT_ONCE calls, CHUNK in each transaction. Raises NothingToAnalyse."""
        queued = 0
        for _ in range(MOST_AT_ONCE // CHUNK):
            async with self.database.transaction() as session:
                ids = await queue.completed_calls(session, calls, caller, CHUNK)
                queued += await queue.ask_many(session, ids, caller, self.wanted, judge=judge)
            if len(ids) < CHUNK:
                return AnalysesAskedOut(queued=queued, next_cursor=None)
            calls = replace(calls, cursor=ids[-1])
        return AnalysesAskedOut(queued=queued, next_cursor=calls.cursor)

    async def waiting(self, caller: Caller) -> AnalysesWaitingOut:
        async with self.database.transaction() as session:
            counted = await queue.count_waiting(session, caller.tenant)
        return AnalysesWaitingOut(
            pending=counted.get(AnalysisStatus.PENDING, 0), in_progress=counted.get(AnalysisStatus.IN_PROGRESS, 0)
        )
