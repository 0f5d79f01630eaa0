"""Queues the analyses that the end of a job could not queue.

The end of a job must not wait for its analysis, so a fault that hits only the analysis is logged and passed over. This
looks each minute at the calls that ended lately. So it also finds those that a process without a language model ended.
"""

import structlog

from app.analysis import queue
from app.analysis.wanted import Wanted
from app.database.connections import Database
from app.database.retries import every

LOOK_SECONDS = 60.0

log = structlog.stdlib.get_logger("callscribe.analysis")


class MissingAnalyses:
    def __init__(self, database: Database, wanted: Wanted) -> None:
        self._database = database
        self._wanted = wanted

    async def run(self) -> None:
        """Look until cancelled."""
        await every(LOOK_SECONDS, self.look)

    async def look(self) -> None:
        async with self._database.transaction() as session:
            added = await queue.add_missing(session, self._wanted)
        if added:
            log.info("analyses that were missing are queued now", analyses=added)
