"""Derives the notify status of a transcription from its deliveries. Pure.

The status is not stored, because the deliveries already say everything and a copy could contradict them.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Self


class NotifyStatus(StrEnum):
    """Whether the receivers of a transcription were notified of its end."""

    NOT_NOTIFIED = "not_notified"
    NOTIFYING = "notifying"
    NOTIFIED = "notified"
    NOTIFICATION_FAILED = "notification_failed"


@dataclass(frozen=True)
class NotifyState:
    """`notified_at` is set once every receiver was notified. It is the time of the last delivery."""

    status: NotifyStatus = NotifyStatus.NOT_NOTIFIED
    notified_at: datetime | None = None

    @classmethod
    def of(cls, tried: int, pending: int, failed: int, finished_at: datetime | None) -> Self:
        """Count the deliveries with at least one attempt, those that are pending, and those that failed for good."""
        if not tried:
            return cls()
        if pending:
            return cls(NotifyStatus.NOTIFYING)
        if failed:
            return cls(NotifyStatus.NOTIFICATION_FAILED)
        return cls(NotifyStatus.NOTIFIED, finished_at)
