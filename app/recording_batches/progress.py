"""How far a recording batch is, from its row and the number of its jobs by status. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.jobs.lifecycle import Status
from app.recording_batches.models import BatchStatus, RecordingBatch


@dataclass(frozen=True)
class Tally:
    """The counters of a batch's row, its jobs by status without superseded ones, and the seconds of completed ones.

    All were read in the same moment, so that they add up.
    """

    total: int
    fed: int
    refused: int
    by_status: Mapping[Status, int]
    seconds_done: float


@dataclass(frozen=True)
class Counts:
    """The recordings of a batch. Those whose transcription was deleted are `erased`. The others add up to `total`."""

    total: int
    waiting: int
    pending: int
    in_progress: int
    completed: int
    failed: int
    cancelled: int
    refused: int
    erased: int


@dataclass(frozen=True)
class Progress:
    """`seconds_to_go` is the sum of the recordings that are left, if they are as long as the completed ones."""

    counts: Counts
    seconds_done: float
    seconds_to_go: float | None
    eta: datetime | None


def counts_of(tally: Tally, *, is_cancelled: bool) -> Counts:
    def of(status: Status) -> int:
        return tally.by_status.get(status, 0)

    waiting = tally.total - tally.fed - tally.refused
    never_fed = waiting if is_cancelled else 0
    return Counts(
        total=tally.total,
        waiting=waiting - never_fed,
        pending=of(Status.PENDING),
        in_progress=of(Status.IN_PROGRESS),
        completed=of(Status.COMPLETED),
        failed=of(Status.FAILED),
        cancelled=of(Status.CANCELLED) + never_fed,
        refused=tally.refused,
        erased=max(0, tally.fed - sum(tally.by_status.values())),
    )


def progress_of(batch: RecordingBatch, tally: Tally, now: datetime) -> Progress:
    """The end is expected at the pace that the batch has had so far. It is not known before a recording is completed,
    and before all recordings of the source are listed.
    """
    counts = counts_of(tally, is_cancelled=batch.status == BatchStatus.CANCELLED)
    left = counts.waiting + counts.pending + counts.in_progress
    if not left:
        is_ending = batch.status in (BatchStatus.COMPLETED, BatchStatus.CANCELLED)
        return Progress(counts, tally.seconds_done, 0.0 if is_ending or batch.is_listed else None, None)
    if not counts.completed or not tally.seconds_done:
        return Progress(counts, tally.seconds_done, None, None)
    to_go = left * tally.seconds_done / counts.completed
    return Progress(counts, tally.seconds_done, to_go, _eta(batch, tally, to_go, now))


def _eta(batch: RecordingBatch, tally: Tally, to_go: float, now: datetime) -> datetime | None:
    if batch.paced_since is None or not batch.is_listed or batch.status == BatchStatus.CANCELLED:
        return None
    done, taken = tally.seconds_done - batch.paced_from, (now - batch.paced_since).total_seconds()
    if done <= 0 or taken <= 0:
        return None
    return now + timedelta(seconds=min(to_go * taken / done, timedelta(days=3650).total_seconds()))
