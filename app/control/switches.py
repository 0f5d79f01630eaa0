"""What operators have paused, as this process knows it.

A request must not cost a query for this, so the pauses are read when one has changed and every few seconds. Claims ask
the database itself, because they run there anyway.
"""

import math
import time

import structlog

from app.control import pauses
from app.control.pausable import Pausable
from app.control.pauses import CONTROL_TOPIC, Pause
from app.database.connections import Database
from app.database.notifications import Signals
from app.errors import IntakePaused

REFRESH_SECONDS = 3.0
RETRY_AFTER_SECONDS = 60
LONGEST_RETRY_AFTER_SECONDS = 3600

log = structlog.stdlib.get_logger("callscribe.control")


class Switches:
    """If the database is away, what was read last holds."""

    def __init__(self, database: Database, signals: Signals) -> None:
        self._database = database
        self._signals = signals
        self._pauses: dict[Pausable, Pause] = {}
        self._read_at = 0.0

    async def run(self) -> None:
        """Follow the decisions of operators until cancelled."""
        await self._signals.follow(CONTROL_TOPIC, self.refresh, lambda: REFRESH_SECONDS)

    async def refresh(self) -> None:
        async with self._database.transaction() as session:
            found = await pauses.in_force(session)
        for what in Pausable:
            if (what in found) != (what in self._pauses):
                log.info(
                    "an operator's pause changed",
                    what=what,
                    state=found[what].in_words() if what in found else "goes on",
                )
        self._pauses, self._read_at = found, time.monotonic()

    def pause_of(self, what: Pausable) -> Pause | None:
        """The pause, or None if there is none or its time is over."""
        pause = self._pauses.get(what)
        return None if pause is None or self._seconds_left(pause) <= 0 else pause

    def _seconds_left(self, pause: Pause) -> float:
        if pause.seconds_left is None:
            return math.inf
        return pause.seconds_left - (time.monotonic() - self._read_at)

    def require_intake(self) -> None:
        """Raises IntakePaused."""
        if (pause := self.pause_of(Pausable.INTAKE)) is None:
            return
        left = self._seconds_left(pause)
        seconds = RETRY_AFTER_SECONDS if left == math.inf else min(math.ceil(left), LONGEST_RETRY_AFTER_SECONDS)
        raise IntakePaused("The operator has paused new transcriptions. Try again later.", retry_after=seconds)
