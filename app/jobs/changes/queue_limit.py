"""Decides how many jobs may wait, so that no tenant and no API key can fill the queue. Pure.

Any key may add jobs until three quarters of the places in the queue are taken. The last quarter is divided among the
keys: a key may add jobs to it only while the key has fewer waiting jobs than its reserve. So each key can always have
its reserve waiting, because the last quarter holds the reserves of all keys but one.

If there are several tenants, the last quarter is divided among them instead, and the reserve of a tenant among its keys
by the same rule. So each tenant can always have its reserve waiting, however many keys the others have.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class QueueLimit:
    """At most `pending` jobs of all `tenants` wait. It is the limit for a tenant which has `keys` API keys."""

    pending: int
    keys: int = 1
    tenants: int = 1

    @property
    def open_to_all(self) -> int:
        """While fewer jobs wait, any key may add one."""
        return self.pending if self.keys < 2 and self.tenants < 2 else self.pending - self.pending // 4

    @property
    def tenant_reserve(self) -> int:
        """A tenant that holds fewer jobs may add one as long as any place is free."""
        return max(1, (self.pending - self.open_to_all) // self.tenants) if self.tenants > 1 else self.pending

    @property
    def reserve(self) -> int:
        """A key that holds fewer jobs may add one as long as any place is free."""
        if self.tenants > 1:
            return self.tenant_reserve // 4 // max(1, self.keys - 1)
        return max(1, (self.pending - self.open_to_all) // max(1, self.keys - 1))

    @property
    def open_to_tenant(self) -> int:
        """While its tenant holds fewer jobs, any of its keys may add one as long as any place is free."""
        if self.tenants < 2:
            return 0
        return self.tenant_reserve if self.keys < 2 else self.tenant_reserve - self.tenant_reserve // 4

    def admits(self, waiting: int, own: int, of_tenant: int) -> bool:
        """Whether a key that holds `own` of the `waiting` jobs, and its tenant `of_tenant` of them, may add one."""
        return waiting < self.open_to_all or (
            waiting < self.pending and (own < self.reserve or of_tenant < self.open_to_tenant)
        )
