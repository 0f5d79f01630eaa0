"""Which models no worker can use at the moment, as this process knows it.

The worker may be another process, so this is read from the rows of the workers: when one of them has changed, and every
few seconds. So a request costs no query for it.
"""

from collections.abc import Iterable, Mapping

from app.control import workers
from app.control.pauses import CONTROL_TOPIC
from app.control.switches import REFRESH_SECONDS
from app.database.connections import Database
from app.database.notifications import Signals


def never_away(model: str) -> bool:
    """For a process that does not know of other workers, and that no client waits for."""
    return False


def known_troubles(remote: Iterable[str], troubles: Mapping[str, str], *, works: bool) -> Mapping[str, str | None]:
    """What a worker knows of the models of other servers: why they cannot be used, and None for what is not known.

    A worker that cannot work, or has not loaded its models, does not know that it can use one.
    """
    return {**({} if works else dict.fromkeys(remote)), **troubles}


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
