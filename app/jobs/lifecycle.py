"""The states of a job and the one function that leads from one to the next. Pure: it takes `now`.

docs/architecture.md draws them. A final status never changes.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import ClassVar

from app.errors import WorkerCrashed
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

# A worker's claim and a client's cancellation lead out of `pending`; `next_state` leads out of `in_progress`.
TRANSITIONS = frozenset(
    {
        (Status.PENDING, Status.IN_PROGRESS),
        (Status.PENDING, Status.CANCELLED),
        *((Status.IN_PROGRESS, status) for status in (Status.PENDING, *FINAL)),
    }
)


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
class AudioFacts:
    """What decoding found out about a recording: seconds, FFmpeg's name of the codec, Hz, tracks."""

    duration: float
    codec: str
    sample_rate: int
    channels: int


@dataclass(frozen=True)
class Succeeded:
    transcript: Transcript
    audio: AudioFacts
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


@dataclass(frozen=True)
class Crashed:
    """The job was in the works when its worker, or the worker's device, broke, and may be the cause."""

    code: ClassVar[str] = WorkerCrashed.code
    message: ClassVar[str] = WorkerCrashed.title


Outcome = Succeeded | Failed | Cancelled | Interrupted | Crashed


@dataclass(frozen=True)
class History:
    """What a job has been through: claims, those of them that ended with a crash, and whether it is to end."""

    attempts: int
    crashes: int = 0
    cancel_requested: bool = False


@dataclass(frozen=True)
class NextState:
    """What the row becomes: `run_at` is when a pending job may be claimed, `attempts` counts from now on."""

    status: Status
    run_at: datetime
    attempts: int


def next_state(outcome: Outcome, history: History, now: datetime) -> NextState:
    """The state that follows an attempt, which `history` counts already."""
    tries = history.attempts - history.crashes
    match outcome:
        case Succeeded():
            return NextState(Status.COMPLETED, now, history.attempts)
        case Failed(transient=True) if history.cancel_requested:
            return NextState(Status.CANCELLED, now, history.attempts)
        case Failed(transient=True) if tries < MAX_TRIES:
            return NextState(Status.PENDING, now + FIRST_RETRY * 2 ** (tries - 1), history.attempts)
        case Failed():
            return NextState(Status.FAILED, now, history.attempts)
        case Crashed() if not history.cancel_requested:
            over = history.crashes >= MAX_CRASHES
            return NextState(Status.FAILED if over else Status.PENDING, now, history.attempts)
        case Interrupted() if not history.cancel_requested:
            return NextState(Status.PENDING, now, history.attempts - 1)
        case Cancelled() | Interrupted() | Crashed():
            return NextState(Status.CANCELLED, now, history.attempts)
