"""Shows operators that this worker lives, and lets it drain when they ask for that."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Protocol

import structlog

from app.control import workers
from app.control.models import WorkerRow, WorkerState
from app.control.pauses import CONTROL_TOPIC
from app.database.connections import DATABASE_TROUBLE, Database
from app.database.notifications import Signals, notify
from app.database.retries import despite_database_trouble
from app.process.tasks import within

BEAT_SECONDS = 5.0
DRAINING_BEAT_SECONDS = 1.0
LEAVE_SECONDS = 2.0

log = structlog.stdlib.get_logger("callscribe.control")


class Drained(Protocol):
    """What drains: the part of this process that runs jobs."""

    @property
    def state(self) -> WorkerState: ...

    def rest(self, grace_seconds: float) -> None:
        """Begin no more jobs. Those that still run after the grace go back to the queue."""

    def work_again(self) -> None: ...


class Presence:
    """`end` ends this process in order. `grace_seconds` is what running jobs get if the operator does not say.

    `troubles` says why models cannot be used at the moment, by their names. None means that this is not known yet.
    """

    def __init__(
        self,
        database: Database,
        signals: Signals,
        worker: Drained,
        *,
        name: str,
        version: str,
        models: Sequence[str],
        troubles: Callable[[], Mapping[str, str | None]],
        grace_seconds: float,
        end: Callable[[], None],
    ) -> None:
        self._database = database
        self._signals = signals
        self._worker = worker
        self._name, self._version, self._models = name, version, models
        self._troubles, self._written = troubles, dict[str, str | None]()
        self._grace_seconds = grace_seconds
        self._end = end
        self._obeyed: datetime | None = None
        self.drain: str | None = None
        """Who lets this worker drain, and why. None if nobody does."""

    async def run(self) -> None:
        """Beat until cancelled. Then take this worker off the list, unless the database is away."""
        try:
            await despite_database_trouble(self._begin)
            await self._signals.follow(CONTROL_TOPIC, self._beat, self._pause_seconds)
        finally:
            with suppress(TimeoutError, *DATABASE_TROUBLE):
                await within(LEAVE_SECONDS, self._leave())

    def _pause_seconds(self) -> float:
        return DRAINING_BEAT_SECONDS if self._worker.state == WorkerState.DRAINING else BEAT_SECONDS

    async def _begin(self) -> None:
        async with self._database.transaction() as session:
            await workers.begin(session, self._name, self._version, self._models, troubles := dict(self._troubles()))
        self._written = troubles

    async def _beat(self) -> None:
        state = None
        while state != self._worker.state:
            state, troubles = self._worker.state, dict(self._troubles())
            async with self._database.transaction() as session:
                row = await workers.seen(session, self._name, state, troubles)
                if _in_trouble(troubles) != _in_trouble(self._written):
                    await notify(session, CONTROL_TOPIC)
            if row is None:
                return await self._begin()
            self._written = troubles
            self._obey(row)
            if state == WorkerState.DRAINED and row.drain_exits:
                self._end()
                return None
        return None

    def _obey(self, row: WorkerRow) -> None:
        if row.drain_since == self._obeyed:
            return
        self._obeyed = row.drain_since
        if row.drain_since is None:
            self.drain = None
            log.info("this worker claims jobs again", worker=self._name)
            self._worker.work_again()
            return
        self.drain = f"drained by {row.drain_by}: {row.drain_reason}"
        grace = self._grace_seconds if row.drain_grace_seconds is None else row.drain_grace_seconds
        log.info("this worker drains", worker=self._name, by=row.drain_by, reason=row.drain_reason, grace_seconds=grace)
        self._worker.rest(grace)

    async def _leave(self) -> None:
        async with self._database.transaction() as session:
            await workers.end(session, self._name)


def _in_trouble(troubles: Mapping[str, str | None]) -> set[tuple[str, bool]]:
    """The models without their reasons, which may change often."""
    return {(model, trouble is None) for model, trouble in troubles.items()}
