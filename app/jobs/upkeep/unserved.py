"""Warns the operator about waiting jobs whose model no worker serves, as after a change of `CALLSCRIBE_MODEL`.

Such jobs are not claimed and not failed. They wait until a worker serves their model, or until they are cancelled.
"""

from collections.abc import Sequence

import structlog

from app.database.connections import Database
from app.database.retries import every
from app.jobs.claims import queue

LOOK_SECONDS = 60.0

log = structlog.stdlib.get_logger("callscribe.jobs")


class UnservedModels:
    """Looks for jobs whose model is not one of `served`, and that no worker seems to serve."""

    def __init__(self, database: Database, served: Sequence[str]) -> None:
        self._database = database
        self._served = served
        self._logged: list[str] = []

    async def run(self) -> None:
        """Look until cancelled."""
        await every(LOOK_SECONDS, self.look)

    async def look(self) -> None:
        """Log the names of the models if they have changed."""
        async with self._database.transaction() as session:
            models = await queue.unserved_models(session, self._served)
        if models and models != self._logged:
            log.warning(
                "jobs wait for a model that no worker seems to serve; add it to CALLSCRIBE_MODEL of a worker, or "
                "cancel the jobs",
                models=models,
                served=list(self._served),
            )
        elif self._logged and not models:
            log.info("no job waits for a model that is not served any more", models=self._logged)
        self._logged = models
