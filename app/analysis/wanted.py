"""What is to be found out about the calls of a tenant: whether rules apply to them, and whether a model judges them."""

from collections.abc import Collection
from dataclasses import dataclass

from sqlmodel.ext.asyncio.session import AsyncSession


@dataclass(frozen=True)
class Wanted:
    """`judges`: there is a language model. It judges the calls of `judged_tenants`, or all if there are none."""

    judges: bool = False
    judged_tenants: Collection[str] = ()

    def judgement(self, tenant: str) -> bool:
        return self.judges and (not self.judged_tenants or tenant in self.judged_tenants)

    async def anything(self, session: AsyncSession, tenant: str) -> bool:
        """Whether an analysis of a call of this tenant would find out anything."""
        return self.judgement(tenant)
