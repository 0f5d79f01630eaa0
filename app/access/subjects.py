"""Whose use a limit bounds: that of a key's caller, or that of a tenant. Pure."""

from dataclasses import dataclass
from typing import Literal

from app.access.callers import Caller, Limits


@dataclass(frozen=True)
class Subject:
    """A caller or a tenant, with its limits. `name` is the caller's label, or the tenant's name."""

    kind: Literal["key", "tenant"]
    name: str
    limits: Limits

    @property
    def id(self) -> str:
        return f"{self.kind} {self.name}"

    @property
    def whose(self) -> str:
        return "this API key" if self.kind == "key" else "all API keys of this tenant together"


def subjects_of(caller: Caller) -> list[Subject]:
    """The subjects of a request: first the caller, then its tenant. Locks are taken in this order."""
    return [Subject("key", caller.label, caller.limits), Subject("tenant", caller.tenant, caller.tenant_limits)]
