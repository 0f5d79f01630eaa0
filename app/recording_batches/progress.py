"""How far a recording batch is, from its row and the number of its jobs by status. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.jobs.lifecycle import Status
from app.recording_batches.models import BatchStatus, RecordingBatch


@dataclass(frozen=True)
class Jobs:
    """The jobs of a batch by status, without superseded ones, and the seconds of the completed recordings."""

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


def counts_of(batch: RecordingBatch, jobs: Jobs) -> Counts:
    def of(status: Status) -> int:
        return jobs.by_status.get(status, 0)

    never_fed = batch.waiting if batch.status == BatchStatus.CANCELLED else 0
    return Counts(
        total=batch.total,
        waiting=batch.waiting - never_fed,
        pending=of(Status.PENDING),
        in_progress=of(Status.IN_PROGRESS),
        completed=of(Status.COMPLETED),
        failed=of(Status.FAILED),
        cancelled=of(Status.CANCELLED) + never_fed,
        refused=batch.refused,
        erased=max(0, batch.fed - sum(jobs.by_status.values())),
    )


def progress_of(batch: RecordingBatch, jobs: Jobs, now: datetime) -> Progress:
    """The end is expected at the pace that the batch has had so far. It is not known before a recording is completed,
    and before all recordings of the source are listed.
    """
    counts = counts_of(batch, jobs)
    left = counts.waiting + counts.pending + counts.in_progress
    if not left:
        is_ending = batch.status in (BatchStatus.COMPLETED, BatchStatus.CANCELLED)
        return Progress(counts, jobs.seconds_done, 0.0 if is_ending or batch.is_listed else None, None)
    if not counts.completed or not jobs.seconds_done:
        return Progress(counts, jobs.seconds_done, None, None)
    to_go = left * jobs.seconds_done / counts.completed
    return Progress(counts, jobs.seconds_done, to_go, _eta(batch, jobs, to_go, now))


def _eta(batch: RecordingBatch, jobs: Jobs, to_go: float, now: datetime) -> datetime | None:
    if batch.paced_since is None or not batch.is_listed or batch.status == BatchStatus.CANCELLED:
        return None
    done, taken = jobs.seconds_done - batch.paced_from, (now - batch.paced_since).total_seconds()
    if done <= 0 or taken <= 0:
        return None
    return now + timedelta(seconds=min(to_go * taken / done, timedelta(days=3650).total_seconds()))
