"""Derives the notify status of a transcription, which clients see, from the counts of its deliveries. Pure.

The status is not stored, because the rows of the deliveries say everything, and a copy could contradict them.
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
    """The notify status, and when the last receiver was notified. `notified_at` is None unless all of them were."""

    status: NotifyStatus = NotifyStatus.NOT_NOTIFIED
    notified_at: datetime | None = None

    @classmethod
    def of(cls, tried: int, pending: int, failed: int, finished_at: datetime | None) -> Self:
        """Derive the state from the deliveries of one transcription.

        `tried` of them have had an attempt or are having one, `pending` are to be attempted again or for the first
        time, and `failed` will not be attempted again. `finished_at` is when the last of them ended.
        """
        if not tried:
            return cls()
        if pending:
            return cls(NotifyStatus.NOTIFYING)
        if failed:
            return cls(NotifyStatus.NOTIFICATION_FAILED)
        return cls(NotifyStatus.NOTIFIED, finished_at)
