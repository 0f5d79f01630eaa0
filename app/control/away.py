"""Which models no worker can use at the moment, as this process knows it.

The worker may be another process, so this is read from the rows of the workers: when one of them has changed, and every
few seconds. So a request costs no query for it.
"""

from collections.abc import Mapping

from app.control import workers
from app.control.pauses import CONTROL_TOPIC
from app.control.switches import REFRESH_SECONDS
from app.database.connections import Database
from app.database.notifications import Signals


def never_away(model: str) -> bool:
    """For a process that does not know of other workers, and that no client waits for."""
    return False


class ModelsAway:
    """If the database is away, what was read last holds."""

    def __init__(self, database: Database, signals: Signals) -> None:
        self._database = database
        self._signals = signals
        self.troubles: Mapping[str, str] = {}
        """Why, by the names of the models."""

    async def run(self) -> None:
        """Follow what the workers write until cancelled."""
        await self._signals.follow(CONTROL_TOPIC, self.refresh, lambda: REFRESH_SECONDS)

    async def refresh(self) -> None:
        async with self._database.transaction() as session:
            self.troubles = await workers.models_away(session)

    def is_away(self, model: str) -> bool:
        return model in self.troubles
