"""Decides which outcome an error means for a job; pure.

Faults of the recording, of its URL or of the model fail a job, some of them only after more tries. Trouble with the
store, with the server of a remote model, or with the worker's own files, processes or memory, returns the job to the
queue.
"""

from datetime import timedelta

from app.errors import AppError, FetchFailed, InsufficientStorage, TranscriptionFailed, Unavailable
from app.jobs.lifecycle import MODEL_AWAY_MESSAGE, Crashed, Failed, Hindered, Interrupted, Outcome
from app.jobs.worker.recording import NotWritten
from app.speech.batching.batcher import EngineStopped
from app.speech.model import DeviceLost, ModelAway
from app.storage.store import RecordingMissing, StoreUnavailable

STORE_PAUSE = timedelta(seconds=30)  # both for the job and for its worker, after the store could not be used
DISK_PAUSE = timedelta(minutes=5)  # longer, because each try that finds the disk full may have cost a whole download
STORE_AWAY = Interrupted(
    STORE_PAUSE, code=Unavailable.code, message="The service cannot use its store of recordings at the moment."
)
DISK_FULL = Interrupted(
    DISK_PAUSE, code=InsufficientStorage.code, message="The service has too little space for the recording."
)
MODEL_AWAY = Interrupted(STORE_PAUSE, code=Unavailable.code, message=MODEL_AWAY_MESSAGE, alone=True)
ENGINE_FAILED = Failed(TranscriptionFailed.code, TranscriptionFailed.title, transient=True)
RECORDING_MISSING = Failed(TranscriptionFailed.code, "The recording is missing from the store", transient=True)


def outcome_of(error: Exception) -> Outcome | None:
    """The outcome of an attempt that raised `error`. None if only a trial of the worker can show what is at fault."""
    match error:
        case DeviceLost():
            return Crashed()
        case EngineStopped():
            return Interrupted()
        case ModelAway():  # another server runs it
            return MODEL_AWAY
        case StoreUnavailable() | NotWritten():
            return STORE_AWAY
        case InsufficientStorage():  # in the store, for a recording that was fetched
            return DISK_FULL
        case FetchFailed():
            return Failed(error.code, error.detail, error.transient, error.not_ready)
        case AppError():
            return Failed(error.code, error.detail, error.transient)
        case RecordingMissing():
            return RECORDING_MISSING
        case OSError() | MemoryError():
            return Hindered()
        case _:
            return None
