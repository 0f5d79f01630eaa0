"""What ended an attempt → its outcome. Only what the decoder says about the bytes, and what the model says about the
sound, may fail a job; trouble with the worker's own files, processes or memory never does. Pure.
"""

from datetime import timedelta

from app.errors import AppError, InsufficientStorage, TranscriptionFailed
from app.jobs.lifecycle import Crashed, Failed, Hindered, Interrupted, Outcome
from app.jobs.recordings import NotWritten
from app.speech.batching.batcher import DeviceLost, EngineStopped
from app.storage.store import RecordingMissing, StoreUnavailable

STORE_PAUSE = timedelta(seconds=30)  # for what a worker lacks for a while: for the job, and for the worker
ROOM_PAUSE = timedelta(minutes=5)  # for a disk to be cleared, because finding it full may have cost a whole download
ENGINE_FAILED = Failed(TranscriptionFailed.code, TranscriptionFailed.title, transient=True)
RECORDING_MISSING = Failed(TranscriptionFailed.code, "The recording is missing from the store", transient=True)


def outcome_of(error: Exception) -> Outcome | None:
    """How an attempt ends that raised `error`. None where only a trial of the worker tells whose fault it was."""
    match error:
        case DeviceLost():
            return Crashed()
        case EngineStopped():
            return Interrupted()
        case StoreUnavailable() | NotWritten():
            return Interrupted(STORE_PAUSE)
        case InsufficientStorage():  # in the store, for a recording that was fetched
            return Interrupted(ROOM_PAUSE)
        case AppError():
            return Failed(error.code, error.detail, error.transient)
        case RecordingMissing():
            return RECORDING_MISSING
        case OSError() | MemoryError():
            return Hindered()
        case _:
            return None
