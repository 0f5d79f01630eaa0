"""The tables of events, their deliveries and the attempts to deliver them, and of the secrets that sign events.

When a transcription is deleted, PostgreSQL deletes its events, deliveries and attempts too.
"""

from datetime import UTC, datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import CheckConstraint, DateTime, Index, Integer, LargeBinary, SmallInteger, Text, text
from sqlmodel import Field, SQLModel


class Style(StrEnum):
    """What a delivery does.

    A notification tells a receiver that the job has ended: by a signed POST with the event as its body, by a plain GET
    of a URL, or by a message with the event. An output writes the transcript in one format, as an object of a bucket or
    as a file in a folder.
    """

    WEBHOOK = "webhook"
    CALLBACK = "callback"
    STREAM = "stream"
    S3 = "s3"
    FOLDER = "folder"


OUTPUTS = frozenset({Style.S3, Style.FOLDER})
NOTIFICATIONS = frozenset(Style) - OUTPUTS
NEIGHBOURS = OUTPUTS | {Style.STREAM}
"""They go to servers and disks of the operator, which answer again soon after an outage."""

WHEN_RELEASED = datetime(9999, 1, 1, tzinfo=UTC)
"""The `next_attempt_at` of a notification that waits until all outputs of its event are written or have failed."""


class DeliveryStatus(StrEnum):
    """Whether a delivery still has to be attempted, and how it ended."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


class OutputStatus(StrEnum):
    """How far an output is, as clients see it."""

    PENDING = "pending"
    WRITTEN = "written"
    FAILED = "failed"


OUTPUT_STATUS = {
    DeliveryStatus.PENDING: OutputStatus.PENDING,
    DeliveryStatus.DELIVERED: OutputStatus.WRITTEN,
    DeliveryStatus.FAILED: OutputStatus.FAILED,
}


class Event(SQLModel, table=True):
    """The end of a transcription, or of an analysis of it. `id` is sent as `webhook-id`. `body` never changes.

    A transcription ends once, so it has at most one event of its own end. It may be analysed several times.
    `traceparent` is the span that the deliveries continue, if there is one.
    """

    __table_args__ = (Index("event_of_transcription", "transcription_id"),)

    id: UUID = Field(primary_key=True)
    transcription_id: UUID = Field(foreign_key="transcription.id", ondelete="CASCADE")
    type: str = Field(sa_type=Text)
    body: bytes = Field(sa_type=LargeBinary)
    traceparent: str | None = Field(default=None, sa_type=Text)
    created_at: datetime = Field(sa_type=DateTime(timezone=True))


class Delivery(SQLModel, table=True):
    """One event for one URL, or one file of its transcript.

    `format` is that of the file, and None for a notification.

    `attempts` counts all attempts. `tries` counts those since the schedule began, because a redelivery begins it again.
    """

    __table_args__ = (
        CheckConstraint("style IN ('webhook', 'callback', 's3', 'folder', 'stream')", name="delivery_style"),
        CheckConstraint("status IN ('pending', 'delivered', 'failed')", name="delivery_status"),
        CheckConstraint("(lease_token IS NULL) = (lease_until IS NULL)", name="delivery_lease"),
        CheckConstraint("status = 'pending' OR lease_token IS NULL", name="delivery_at_rest"),
        CheckConstraint("(status = 'pending') = (finished_at IS NULL)", name="delivery_finished"),
        Index("delivery_due", "host", "next_attempt_at", "id", postgresql_where=text("status = 'pending'")),
        Index("delivery_leased", "host", postgresql_where=text("lease_token IS NOT NULL")),
        Index("delivery_of_event", "event_id"),
        Index(
            "delivery_to_neighbours",
            "style",
            "tries",
            postgresql_where=text("status = 'pending' AND style IN ('s3', 'folder', 'stream')"),
        ),
    )

    id: UUID = Field(primary_key=True)
    event_id: UUID = Field(foreign_key="event.id", ondelete="CASCADE")
    style: Style = Field(sa_type=Text)
    url: str = Field(sa_type=Text)
    format: str | None = Field(default=None, sa_type=Text)
    host: str = Field(sa_type=Text)
    status: DeliveryStatus = Field(default=DeliveryStatus.PENDING, sa_type=Text)
    attempts: int = Field(default=0, sa_type=Integer)
    tries: int = Field(default=0, sa_type=SmallInteger)
    next_attempt_at: datetime = Field(sa_type=DateTime(timezone=True))
    lease_token: UUID | None = None
    lease_until: datetime | None = Field(default=None, sa_type=DateTime(timezone=True))
    created_at: datetime = Field(sa_type=DateTime(timezone=True))
    finished_at: datetime | None = Field(default=None, sa_type=DateTime(timezone=True))


class DeliveryAttempt(SQLModel, table=True):
    """One entry of a delivery's log: what the receiver answered, or why there was no answer."""

    __tablename__ = "delivery_attempt"
    __table_args__ = (
        CheckConstraint("status_code IS NULL OR error IS NULL", name="delivery_attempt_result"),
        Index("delivery_attempt_of_delivery", "delivery_id", "id"),
    )

    id: UUID = Field(primary_key=True)
    delivery_id: UUID = Field(foreign_key="delivery.id", ondelete="CASCADE")
    started_at: datetime = Field(sa_type=DateTime(timezone=True))
    milliseconds: int = Field(sa_type=Integer)
    status_code: int | None = Field(default=None, sa_type=SmallInteger)
    error: str | None = Field(default=None, sa_type=Text)
    response: str = Field(sa_type=Text)


class WebhookSecret(SQLModel, table=True):
    """A secret that signs events if no setting names one. The current secret has no `expires_at`."""

    __tablename__ = "webhook_secret"
    __table_args__ = (
        Index(
            "webhook_secret_current",
            text("(expires_at IS NULL)"),
            unique=True,
            postgresql_where=text("expires_at IS NULL"),
        ),
    )

    id: UUID = Field(primary_key=True)
    secret: str = Field(sa_type=Text)
    created_at: datetime = Field(sa_type=DateTime(timezone=True))
    expires_at: datetime | None = Field(default=None, sa_type=DateTime(timezone=True))
