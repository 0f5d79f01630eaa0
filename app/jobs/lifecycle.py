"""The states of a job, and the function that decides what follows an attempt. Pure: it takes `now`.

A claim, a lost lease and a client's cancellation change the state elsewhere. docs/architecture.md draws all changes. A
final status never changes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from math import inf
from typing import ClassVar

from app.errors import Abandoned, FetchFailed, GpuOutOfMemory, Unavailable, WorkerCrashed
from app.transcripts.transcript import Transcript

ENGINE_DELAYS = (timedelta(seconds=5), timedelta(seconds=10))
FETCH_DELAYS = (timedelta(seconds=5), timedelta(seconds=30), timedelta(minutes=2))  # a server may restart
# Phone systems send the address of a recording up to a minute before the recording is there.
NOT_READY_DELAYS = tuple(timedelta(seconds=seconds) for seconds in (5, 10, 20, 30))
GPU_DELAYS = tuple(timedelta(minutes=minutes) for minutes in (0.5, 1, 2, 5, 10, 20, 40))  # others may hold its memory
HINDRANCE_DELAYS = tuple(timedelta(seconds=seconds) for seconds in (5, 10, 20, 40, 80, 160, 300))
# How long a job's fetches may take, one after the other, while other keys wait. Each further one may take until its
# deadline. So a large recording is fetched in the end.
LONGEST_FETCHES_SECONDS = (120.0, 480.0)
SLOW_FETCH_DELAYS = HINDRANCE_DELAYS[: len(LONGEST_FETCHES_SECONDS)]
MODEL_AWAY_MESSAGE = "The service cannot use the model at the moment."
MAX_CRASHES = 3
MAX_HINDRANCES = 10  # of one job; each further one counts as a crash if its worker turns out to be fit

RATE_WINDOW = timedelta(minutes=5)
COME_BACK_SECONDS = range(5, 601)
COME_BACK_SHARE = 0.05


class Status(StrEnum):
    """The state of a transcription."""

    PENDING = "pending"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        return self in FINAL


FINAL = frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED})

# A worker's claim and a client's cancellation lead out of `pending`. `next_state` and a lost lease lead out of
# `in_progress`.
TRANSITIONS = frozenset(
    {
        (Status.PENDING, Status.IN_PROGRESS),
        (Status.PENDING, Status.CANCELLED),
        *((Status.IN_PROGRESS, status) for status in (Status.PENDING, *FINAL)),
    }
)


@dataclass(frozen=True)
class Timings:
    """Seconds that an attempt spent."""

    decoding: float
    transcribing: float


@dataclass(frozen=True)
class AudioFacts:
    """What decoding found out about a recording: seconds, FFmpeg's name of the codec, Hz, tracks."""

    duration: float
    codec: str | None
    sample_rate: int | None
    channels: int


@dataclass(frozen=True)
class RedactedAudio:
    """A recording in the store in which private stretches are silenced, and its size."""

    key: str
    bytes: int


@dataclass(frozen=True)
class Redaction:
    """What a job took out: how many stretches of each kind.

    `unredacted` is the transcript as it was, if it is kept. `audio` replaces the recording, if that is kept.
    """

    counts: Mapping[str, int]
    unredacted: Transcript | None = None
    audio: RedactedAudio | None = None


@dataclass(frozen=True)
class Succeeded:
    """`redaction` is None if the job was not asked for one."""

    transcript: Transcript
    audio: AudioFacts
    timings: Timings
    redaction: Redaction | None = None


@dataclass(frozen=True)
class Failed:
    """`transient` means that the cause may pass, so that the job is tried again.

    `not_ready` means that the recording is not at its URL yet, so that it is tried again for only about a minute.
    """

    code: str
    message: str
    transient: bool = False
    not_ready: bool = False


@dataclass(frozen=True)
class Cancelled:
    pass


@dataclass(frozen=True)
class Interrupted:
    """The job returns to the queue without a counted attempt and waits for `pause`, because it is not to blame.

    `alone` means that the cause concerns no other job, so that the worker goes on with the others. `code` and `message`
    say to clients why the job waits.
    """

    pause: timedelta = timedelta(0)
    alone: bool = False
    code: str | None = None
    message: str | None = None


@dataclass(frozen=True)
class Hindered:
    """The worker's own files, processes or memory failed, not the recording.

    The job returns to the queue without a counted attempt. It waits longer each time, so that a recording that causes
    the trouble does not keep the workers busy.
    """

    code: ClassVar[str] = Unavailable.code
    message: ClassVar[str] = "The worker that ran the job had trouble of its own."


@dataclass(frozen=True)
class SlowFetch:
    """The job's fetch took long, and made way for a job of another API key.

    The job returns to the queue without a counted attempt. Each time it waits longer, and its next fetch may take
    longer, so that a large recording is fetched in the end.
    """


@dataclass(frozen=True)
class Crashed:
    """The job was running when its worker or the worker's device crashed, so the job may be the cause."""

    code: ClassVar[str] = WorkerCrashed.code
    message: ClassVar[str] = WorkerCrashed.title


Outcome = Succeeded | Failed | Cancelled | Interrupted | Hindered | SlowFetch | Crashed


@dataclass(frozen=True)
class History:
    """What has happened to a job so far.

    `hindrances` counts the attempts that a worker's own trouble ended, and `slow_fetches` the attempts that ended as
    SlowFetch. `attempts` counts the claims, less those that ended without being counted.
    """

    attempts: int
    crashes: int = 0
    cancel_requested: bool = False
    hindrances: int = 0
    slow_fetches: int = 0


@dataclass(frozen=True)
class NextState:
    """The new values of the row. `run_at` is when a pending job may be claimed.

    Without a `run_at` the job keeps its place in the queue, before all jobs that were created later.
    """

    status: Status
    run_at: datetime | None
    attempts: int


def next_state(outcome: Outcome, history: History, now: datetime) -> NextState:
    """The state that follows an attempt. `history` counts this attempt already, and what ended it too."""
    tries = _tries(history)
    match outcome:
        case Succeeded():
            return NextState(Status.COMPLETED, None, history.attempts)
        case Failed(transient=True) if history.cancel_requested:
            return NextState(Status.CANCELLED, None, history.attempts)
        case Failed(transient=True) if tries <= len(delays := _delays(outcome)):
            return NextState(Status.PENDING, now + delays[tries - 1], history.attempts)
        case Failed():
            return NextState(Status.FAILED, None, history.attempts)
        case Crashed() if not history.cancel_requested:
            over = history.crashes >= MAX_CRASHES
            return NextState(Status.FAILED if over else Status.PENDING, None, history.attempts)
        case Interrupted(pause) if not history.cancel_requested:
            return NextState(Status.PENDING, now + pause if pause else None, history.attempts - 1)
        case Hindered() if not history.cancel_requested:
            return NextState(Status.PENDING, now + _nth(HINDRANCE_DELAYS, history.hindrances), history.attempts - 1)
        case SlowFetch() if not history.cancel_requested:
            return NextState(Status.PENDING, now + _nth(SLOW_FETCH_DELAYS, history.slow_fetches), history.attempts - 1)
        case Cancelled() | Interrupted() | Hindered() | SlowFetch() | Crashed():
            return NextState(Status.CANCELLED, None, history.attempts)


def _tries(history: History) -> int:
    return max(1, history.attempts - history.crashes)


def why_it_waits(outcome: Outcome) -> tuple[str | None, str | None]:
    """The code and the message that clients see while a job waits for another try after this outcome."""
    if isinstance(outcome, Failed | Interrupted | Hindered):
        return outcome.code, outcome.message
    return None, None


def final_message(outcome: Failed | Crashed, history: History) -> str:
    """What clients read after the last try. If a fetch was tried again, it says how often and for how long."""
    tries = _tries(history)
    if isinstance(outcome, Crashed) or outcome.code != FetchFailed.code or not outcome.transient or tries == 1:
        return outcome.message
    minutes = round(sum(_delays(outcome), timedelta()) / timedelta(minutes=1))
    span = "a minute" if minutes == 1 else f"{minutes} minutes"
    return f"{outcome.message} The service tried {tries} times, for about {span}."


def _delays(failure: Failed) -> tuple[timedelta, ...]:
    """How long to wait before each further try."""
    if failure.not_ready:
        return NOT_READY_DELAYS
    return {FetchFailed.code: FETCH_DELAYS, GpuOutOfMemory.code: GPU_DELAYS}.get(failure.code, ENGINE_DELAYS)


def _nth(delays: tuple[timedelta, ...], number: int) -> timedelta:
    """The delay after the event with this number, counted from 1. The last delay holds for all further events."""
    return delays[min(number, len(delays)) - 1]


def may_be_wanted_again(status: Status, error_code: str | None) -> bool:
    """Whether somebody may want to look at the recording of an ended job, or to retry the job.

    Nobody asks for an abandoned job: its client went away. `erasure.forget_audio` says the same in SQL.
    """
    return status == Status.FAILED or (status == Status.CANCELLED and error_code != Abandoned.code)


def longest_fetch_seconds(slow_fetches: int) -> float:
    """How long a fetch may take while other keys wait, if earlier fetches of the job made way `slow_fetches` times."""
    return LONGEST_FETCHES_SECONDS[slow_fetches] if slow_fetches < len(LONGEST_FETCHES_SECONDS) else inf


def come_back_after(waiting: int, ended: int) -> int:
    """Seconds until a full queue has some room again, which is when a twentieth of the waiting jobs has ended.

    `ended` counts the jobs that ended within RATE_WINDOW.
    """
    if ended == 0:
        return COME_BACK_SECONDS[-1]
    seconds = waiting * COME_BACK_SHARE * RATE_WINDOW.total_seconds() / ended
    return round(min(max(seconds, COME_BACK_SECONDS[0]), COME_BACK_SECONDS[-1]))
