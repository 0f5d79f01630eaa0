"""The states of a job and the one function that leads from one to the next. Pure: it takes `now`.

    pending ──claim──▶ in_progress ──▶ completed | failed | cancelled
       ▲                    │
       └── interrupted, lost or worth another try ┘

A final status never changes.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from app.speech.transcript import Transcript

MAX_TRIES = 3
MAX_CRASHES = 3
FIRST_RETRY = timedelta(seconds=5)


class Status(StrEnum):
    """Where a transcription stands."""

    PENDING = "pending"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        return self in FINAL


FINAL = frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED})


class NotifyStatus(StrEnum):
    """Where the notification of a transcription's end stands."""

    NOT_NOTIFIED = "not_notified"
    NOTIFYING = "notifying"
    NOTIFIED = "notified"
    NOTIFICATION_FAILED = "notification_failed"


@dataclass(frozen=True)
class Timings:
    """Seconds that an attempt spent."""

    decoding: float
    transcribing: float


@dataclass(frozen=True)
class Succeeded:
    transcript: Transcript
    timings: Timings


@dataclass(frozen=True)
class Failed:
    """`transient` failures, whose cause may pass, are tried again."""

    code: str
    message: str
    transient: bool = False


@dataclass(frozen=True)
class Cancelled:
    pass


@dataclass(frozen=True)
class Interrupted:
    """The worker stops: the job goes back as if it had not been claimed."""


Outcome = Succeeded | Failed | Cancelled | Interrupted


@dataclass(frozen=True)
class NextState:
    """What the row becomes: `run_at` is when a pending job may be claimed, `attempts` counts from now on."""

    status: Status
    run_at: datetime
    attempts: int


def next_state(outcome: Outcome, attempts: int, now: datetime) -> NextState:
    """The state that follows an attempt; `attempts` counts that attempt."""
    match outcome:
        case Succeeded():
            return NextState(Status.COMPLETED, now, attempts)
        case Cancelled():
            return NextState(Status.CANCELLED, now, attempts)
        case Interrupted():
            return NextState(Status.PENDING, now, attempts - 1)
        case Failed(transient=True) if attempts < MAX_TRIES:
            return NextState(Status.PENDING, now + FIRST_RETRY * 2 ** (attempts - 1), attempts)
        case Failed():
            return NextState(Status.FAILED, now, attempts)
