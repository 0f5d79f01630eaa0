"""The tables of recording batches: many old recordings that are transcribed behind the calls of the day.

It is called a recording batch everywhere in the code, because a batch alone is a batch of windows.
"""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import (
    JSON,
    CheckConstraint,
    Column,
    DateTime,
    Float,
    ForeignKey,
    Index,
    Integer,
    Text,
    UniqueConstraint,
    text,
)
from sqlmodel import Field, SQLModel

from app.access.callers import DEFAULT_TENANT


class BatchStatus(StrEnum):
    """The state of a recording batch. Clients never see `receiving` and `erasing`."""

    RECEIVING = "receiving"
    FEEDING = "feeding"
    RUNNING = "running"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    ERASING = "erasing"


SHOWN = (BatchStatus.FEEDING, BatchStatus.RUNNING, BatchStatus.COMPLETED, BatchStatus.CANCELLED)


class RecordingBatch(SQLModel, table=True):
    """A recording batch. `asked` has the fields that a request for any of its recordings would have.

    `source` is a pattern such as `s3://bucket/2019/**/*.wav`, or None if the rows came with the request. `listed_after`
    is the last key that was listed. `total` counts the rows, `fed` those that have a job, and `refused` those that the
    intake refused. A process looks after the batch when `look_at` is over, until `completed_at` is set. The pace of the
    batch is measured from `paced_since`, when its finished recordings were `paced_from` seconds long.
    """

    __tablename__ = "recording_batch"
    __table_args__ = (
        CheckConstraint(
            f"status IN ({', '.join(repr(str(status)) for status in BatchStatus)})", name="recording_batch_status"
        ),
        UniqueConstraint("caller", "idempotency_key", name="recording_batch_idempotency"),
        Index("recording_batch_open", "look_at", postgresql_where=text("completed_at IS NULL")),
        Index("recording_batch_ended", "completed_at", postgresql_where=text("completed_at IS NOT NULL")),
    )

    id: UUID = Field(primary_key=True)
    caller: str = Field(sa_type=Text)
    tenant: str = Field(default=DEFAULT_TENANT, sa_column=Column(Text, nullable=False, server_default=DEFAULT_TENANT))
    idempotency_key: str | None = Field(default=None, sa_type=Text)
    fingerprint: str = Field(sa_type=Text)
    name: str | None = Field(default=None, sa_type=Text)
    status: BatchStatus = Field(sa_type=Text)
    source: str | None = Field(default=None, sa_type=Text)
    asked: dict[str, Any] = Field(sa_type=JSON)
    total: int = Field(default=0, sa_type=Integer)
    fed: int = Field(default=0, sa_type=Integer)
    refused: int = Field(default=0, sa_type=Integer)
    is_listed: bool = False
    listed_after: str | None = Field(default=None, sa_type=Text)
    trouble: str | None = Field(default=None, sa_type=Text)
    look_at: datetime = Field(sa_type=DateTime(timezone=True))
    paced_since: datetime | None = Field(default=None, sa_type=DateTime(timezone=True))
    paced_from: float = Field(default=0.0, sa_type=Float)
    created_at: datetime = Field(sa_type=DateTime(timezone=True))
    completed_at: datetime | None = Field(default=None, sa_type=DateTime(timezone=True))

    @property
    def waiting(self) -> int:
        """How many rows have no job yet."""
        return self.total - self.fed - self.refused


class RecordingBatchRow(SQLModel, table=True):
    """A recording of a batch. `fields` are those that its row of the manifest has besides the URL.

    It waits until it has a job or an error. Its job may be deleted before the row.
    """

    __tablename__ = "recording_batch_row"
    __table_args__ = (
        Index(
            "recording_batch_row_waiting",
            "batch_id",
            "number",
            postgresql_where=text("transcription_id IS NULL AND error_code IS NULL"),
        ),
    )

    batch_id: UUID = Field(sa_column_args=[ForeignKey("recording_batch.id", ondelete="CASCADE")], primary_key=True)
    number: int = Field(primary_key=True, sa_type=Integer, sa_column_kwargs={"autoincrement": False})
    url: str = Field(sa_type=Text)
    fields: dict[str, Any] = Field(sa_type=JSON)
    transcription_id: UUID | None = None
    error_code: str | None = Field(default=None, sa_type=Text)
    error_message: str | None = Field(default=None, sa_type=Text)
