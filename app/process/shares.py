"""Decides which part of some places one tenant, and one caller of it, may hold, so that others find a place. Pure.

The module must not know who the tenants are. `access.neighbours` finds that out.
"""

from collections.abc import Mapping


class Shares:
    """The parts of the tenants, by how many callers each tenant has. All parts of a process have the same object."""

    def __init__(self, callers: Mapping[str, int] | None = None) -> None:
        self.callers: Mapping[str, int] = callers or {}

    @property
    def tenants(self) -> int:
        return max(1, len(self.callers))

    def callers_of(self, tenant: str) -> int:
        return max(1, self.callers.get(tenant, 1))

    def most_of_tenant(self, places: int, of_one: int) -> int:
        """How many of the places a tenant may hold. `of_one` leaves enough for others, who exist if there are more."""
        return places if self.tenants < 2 else of_one

    def most_of_caller(self, tenant: str, of_one: int) -> int:
        """How many places a caller of the tenant may hold, if `of_one` is what one may hold of all places.

        If there are more tenants, the callers of a tenant share what one may hold, and each leaves a quarter of it.
        """
        return of_one if self.tenants < 2 or self.callers_of(tenant) < 2 else self.of_several(of_one)

    @staticmethod
    def of_several(of_one: int) -> int:
        return of_one - of_one // 4
