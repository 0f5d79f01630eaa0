"""What is to be found out about the calls of a tenant: whether rules apply to them, and whether a model judges them."""

import time
from collections.abc import Collection
from dataclasses import dataclass, field

from sqlmodel.ext.asyncio.session import AsyncSession

from app.analysis.defining import any_defined

REMEMBERED_SECONDS = 5.0
MOST_REMEMBERED = 10_000


@dataclass(frozen=True)
class Wanted:
    """`judges`: there is a language model. It judges the calls of `judged_tenants`, or all if there are none."""

    judges: bool = False
    judged_tenants: Collection[str] = ()
    _remembered: dict[str, tuple[float, bool]] = field(default_factory=dict, compare=False)

    def judgement(self, tenant: str) -> bool:
        return self.judges and (not self.judged_tenants or tenant in self.judged_tenants)

    async def anything(self, session: AsyncSession, tenant: str) -> bool:
        """Whether an analysis of a call of this tenant would find out anything."""
        return self.judgement(tenant) or await any_defined(session, tenant)

    def surely_nothing(self, tenant: str) -> bool:
        """Whether it is known without asking the database that there is nothing to find out."""
        until, has = self._remembered.get(tenant, (0.0, False))
        return not self.judgement(tenant) and not has and time.monotonic() < until

    async def rules(self, session: AsyncSession, tenant: str) -> bool:
        """Whether the tenant has a category or a scorecard, or had none up to REMEMBERED_SECONDS ago.

        It is remembered because this is asked at the end of every job.
        """
        now = time.monotonic()
        until, has = self._remembered.get(tenant, (0.0, False))
        if until <= now:
            has = await any_defined(session, tenant)
            if len(self._remembered) >= MOST_REMEMBERED:
                self._remembered.clear()
            self._remembered[tenant] = now + REMEMBERED_SECONDS, has
        return has
