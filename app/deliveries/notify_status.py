"""Where the notification of a transcription's end stands, told from its deliveries: they are the one truth. Pure."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Self


class NotifyStatus(StrEnum):
    """Where the notification of a transcription's end stands."""

    NOT_NOTIFIED = "not_notified"
    NOTIFYING = "notifying"
    NOTIFIED = "notified"
    NOTIFICATION_FAILED = "notification_failed"


@dataclass(frozen=True)
class NotifyState:
    """`notified_at` is when the last receiver was told, once all are."""

    status: NotifyStatus = NotifyStatus.NOT_NOTIFIED
    notified_at: datetime | None = None

    @classmethod
    def of(cls, tried: int, pending: int, failed: int, finished_at: datetime | None) -> Self:
        """From how many deliveries were tried at least once, are still to be tried, and failed for good."""
        if not tried:
            return cls()
        if pending:
            return cls(NotifyStatus.NOTIFYING)
        if failed:
            return cls(NotifyStatus.NOTIFICATION_FAILED)
        return cls(NotifyStatus.NOTIFIED, finished_at)
