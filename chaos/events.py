"""The seam at which webhooks are accounted for: whom jobs tell of their end, and what that receiver was told."""

from collections.abc import Collection, Mapping
from typing import Protocol
from uuid import UUID


class Events(Protocol):
    """What a scenario needs to know of events."""

    def fields(self) -> Mapping[str, str]:
        """The form fields of each job that bring its event here."""

    def settings(self) -> Mapping[str, str]:
        """The settings without which the service would not come here."""

    async def discrepancies(self, ended: Collection[UUID]) -> list[str]:
        """One line for each of these jobs that was told of under no event id, or under two."""


class NoEvents:
    """Jobs that tell nobody."""

    def fields(self) -> Mapping[str, str]:
        return {}

    def settings(self) -> Mapping[str, str]:
        return {}

    async def discrepancies(self, ended: Collection[UUID]) -> list[str]:
        return []
