"""Decides what happens to a recording that was accepted, by the state of its job. Pure."""

from enum import Enum, auto

from app.errors import AppError, OutputFailed, RecordingChanged
from app.intake.problem import error_of
from app.jobs.changes.followed import Followed
from app.jobs.lifecycle import Status


class Fate(Enum):
    """What happens to the recording now. An AppError instead means that it is refused for this reason."""

    STAYS = auto()
    DONE = auto()  # deleted, or kept among those that are done
    ERASED = auto()
    RETURNS = auto()


def fate_of(job: Followed | None, size: int | None, *, was_deleted: bool) -> Fate | AppError:
    """`job` is None if there is no such job. `size` is that of the recording, or None if it is not there.

    If a job is missing and was not deleted, the database was restored from an older backup. So its recording goes back
    into the folder and becomes a new job.
    """
    if job is None:
        return Fate.ERASED if was_deleted else Fate.RETURNS
    if not job.status.final or job.outputs_left:
        return Fate.STAYS
    if job.status == Status.FAILED:
        return error_of(job.error_code, job.error_message)
    if job.outputs_failed:
        return OutputFailed("The transcription is completed, but its outputs could not be written.")
    if None not in (size, job.bytes) and size != job.bytes:
        return RecordingChanged("The recording was written to after it had been accepted.")
    return Fate.DONE
