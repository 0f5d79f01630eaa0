"""Finds out who shares this installation, so that no tenant and no caller takes what the others need.

Callers are the keys of the settings and of the database, and the ways in that need no key. A worker does not know the
keys of the settings of other processes. So the tenant `default` also counts if it has ever had a job.
"""

from collections import Counter
from collections.abc import Collection

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from app.access.callers import ANONYMOUS, DEFAULT_TENANT, Caller, Scope, tenant_of
from app.access.keys import KEYS_TOPIC
from app.database.connections import Database
from app.database.notifications import Signals
from app.process.shares import Shares

REFRESH_SECONDS = 10.0

# Keys that add no jobs share nothing.
_CALLERS = text("""
    SELECT DISTINCT tenant, name FROM api_key
    WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now()) AND scopes && CAST(:scopes AS text[])
""").bindparams(scopes=[Scope.TRANSCRIBE, Scope.LIVE])
_HAS_DEFAULT = text(
    "SELECT EXISTS (SELECT FROM transcription WHERE tenant = :default AND started_at IS NOT NULL)"
).bindparams(default=DEFAULT_TENANT)


class Neighbours:
    """Keeps `shares` fresh.

    `keys` has the labels of the callers with keys of the settings, and `ways_in` those of callers that need no key.
    Without any key, everybody is one caller.
    """

    def __init__(self, keys: Collection[str] = (), ways_in: Collection[str] = ()) -> None:
        self._keys = keys
        self._ways_in = ways_in
        self.shares = Shares()

    async def load(self, session: AsyncSession) -> None:
        rows = (await session.exec(_CALLERS)).all()  # type: ignore[call-overload]
        keys = {Caller.of_label(label) for label in self._keys} | {Caller(row.name, row.tenant) for row in rows}
        callers = Counter(caller.tenant for caller in keys or {ANONYMOUS})
        callers.update(tenant_of(label) for label in self._ways_in)
        if DEFAULT_TENANT not in callers and (await session.exec(_HAS_DEFAULT)).scalar_one():  # type: ignore[call-overload]
            callers[DEFAULT_TENANT] = 1
        self.shares.callers = callers

    async def run(self, database: Database, signals: Signals) -> None:
        """Load again when a key has changed, and every few seconds, until cancelled."""

        async def load() -> None:
            async with database.transaction() as session:
                await self.load(session)

        await signals.follow(KEYS_TOPIC, load, lambda: REFRESH_SECONDS)
