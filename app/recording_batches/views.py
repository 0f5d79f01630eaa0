"""What clients get of recording batches, as pydantic models. It must not know HTTP."""

from datetime import datetime
from typing import Literal, Self
from uuid import UUID

from pydantic import BaseModel, Field

from app.jobs.lifecycle import FINAL, Status
from app.jobs.models import stored_output_files
from app.recording_batches.models import BatchStatus, RecordingBatch
from app.recording_batches.reading import ReadBatch, ReportRow
from app.sources.names import shown_url
from app.transcripts.view import Seconds

EXAMPLE_ID = "01989d2e-7c1b-7f9e-8a54-2f0f6f1f9c3e"
ShownStatus = Literal["feeding", "running", "completed", "cancelled"]
RowStatus = Literal["waiting", "pending", "in_progress", "completed", "failed", "cancelled", "refused", "erased"]


_ROW_STATUSES: dict[str, RowStatus] = {
    Status.PENDING: "pending",
    Status.IN_PROGRESS: "in_progress",
    Status.COMPLETED: "completed",
    Status.FAILED: "failed",
    Status.CANCELLED: "cancelled",
}
_SHOWN_STATUSES: dict[str, ShownStatus] = {
    BatchStatus.FEEDING: "feeding",
    BatchStatus.RUNNING: "running",
    BatchStatus.COMPLETED: "completed",
    BatchStatus.CANCELLED: "cancelled",
}


class CountsOut(BaseModel):
    """The recordings by status. All but `total` add up to it."""

    total: int = Field(description="The recordings that are known. It grows while a bucket is listed.")
    waiting: int = Field(description="Recordings that the service has not queued yet.")
    pending: int
    in_progress: int
    completed: int
    failed: int
    cancelled: int
    refused: int = Field(description="Recordings that the service did not queue. The report says why.")
    erased: int = Field(description="Recordings whose transcription was deleted.")


class BatchLinks(BaseModel):
    """Paths of this batch and its report."""

    self: str
    report: str


class BatchOut(BaseModel):
    """A batch of recordings."""

    id: UUID = Field(examples=[EXAMPLE_ID])
    name: str | None
    status: ShownStatus = Field(
        description="`feeding` while recordings wait to be queued, `running` until all queued ones have ended, then "
        "`completed`, also if some of them have failed. Or `cancelled`."
    )
    source: str | None = Field(description="The pattern of the keys. Null if the request had the URLs.")
    counts: CountsOut
    seconds_done: Seconds = Field(description="How many seconds of recordings are transcribed.")
    seconds_to_go: Seconds | None = Field(
        description="How many seconds are left, if the other recordings are as long as the completed ones. Null until "
        "one is completed."
    )
    eta: datetime | None = Field(
        description="When the batch will end at its pace so far. Null until the pace and all recordings are known, and "
        "when the batch has ended."
    )
    error: str | None = Field(
        description="Why the source cannot be listed at the moment, while the service keeps trying; or that nothing "
        "matches the pattern."
    )
    created_at: datetime
    completed_at: datetime | None = Field(description="When the last recording ended. Null until then.")
    links: BatchLinks

    @classmethod
    def of(cls, read: ReadBatch, root_path: str = "") -> Self:
        batch, progress = read.batch, read.progress
        path = f"{root_path}/v1/batches/{batch.id}"
        return cls(
            id=batch.id,
            name=batch.name,
            status=_SHOWN_STATUSES[batch.status],
            source=batch.source,
            counts=CountsOut.model_validate(progress.counts, from_attributes=True),
            seconds_done=progress.seconds_done,
            seconds_to_go=progress.seconds_to_go,
            eta=progress.eta,
            error=batch.trouble,
            created_at=batch.created_at,
            completed_at=batch.completed_at,
            links=BatchLinks(self=path, report=f"{path}/report"),
        )


class BatchList(BaseModel):
    """One page of batches, newest first."""

    items: list[BatchOut]
    next_cursor: str | None = Field(
        description="Send this value as `cursor` to get the next page. It is null on the last page."
    )


class ReportError(BaseModel):
    code: str
    message: str


class ReportRecording(BaseModel):
    """A recording of the batch."""

    number: int = Field(description="The number of the recording in the batch, from 1.")
    url: str = Field(description="Without credentials and query.")
    external_id: str | None
    status: RowStatus = Field(
        description="The status of its transcription, or `waiting` until it is queued, `refused` if it was not, "
        "`erased` if its transcription was deleted."
    )
    error: ReportError | None
    duration: float | None = Field(description="The length in seconds.")
    language: str | None
    outputs: list[str] = Field(description="The files and objects with the transcript.")
    transcription_id: UUID | None

    @classmethod
    def of(cls, row: ReportRow, batch: RecordingBatch) -> Self:
        usual_id = row.fields.get("external_id", batch.asked.get("external_id"))
        return cls(
            number=row.number,
            url=shown_url(row.url),
            external_id=row.external_id if row.status else usual_id,
            status=_status(row, batch),
            error=_error(row),
            duration=row.duration,
            language=row.language,
            outputs=_outputs(row),
            transcription_id=row.transcription_id,
        )


def _status(row: ReportRow, batch: RecordingBatch) -> RowStatus:
    if row.status is not None:
        return _ROW_STATUSES[row.status]
    if row.refused_code is not None:
        return "refused"
    if row.transcription_id is not None:
        return "erased"
    return "cancelled" if batch.status == BatchStatus.CANCELLED else "waiting"


def _error(row: ReportRow) -> ReportError | None:
    code, message = row.refused_code, row.refused_message
    if row.status in FINAL:
        code, message = row.error_code, row.error_message
    return None if code is None else ReportError(code=code, message=message or "")


def _outputs(row: ReportRow) -> list[str]:
    if row.status != Status.COMPLETED or row.transcription_id is None:
        return []
    files = stored_output_files(row.outputs, row.transcription_id, row.external_id, row.filename, row.created_at)
    return [file.url for file in files]


class BatchReport(BaseModel):
    """All recordings of a batch. The answer is sent while it is read from the database."""

    id: UUID
    name: str | None
    status: ShownStatus
    recordings: list[ReportRecording]
