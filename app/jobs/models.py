"""The tables of jobs and transcripts."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import TypeAdapter
from sqlalchemy import (
    JSON,
    REAL,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Float,
    Identity,
    Index,
    Integer,
    SmallInteger,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlmodel import Field, SQLModel

from app.access.callers import DEFAULT_TENANT
from app.deliveries.outputs import Output, OutputFile, files_of, values_of
from app.errors import NotFound
from app.jobs.lifecycle import FINAL, MAX_CRASHES, Status
from app.transcripts.transcript import Options, Segment, Transcript

stored_options = TypeAdapter(Options)
stored_transcripts = TypeAdapter(Transcript)
stored_outputs = TypeAdapter(list[Output])
stored_segments = TypeAdapter(tuple[Segment, ...])


def _in(column: str, values: list[str]) -> str:
    return f"{column} IN ({', '.join(repr(str(value)) for value in values)})"


class Transcription(SQLModel, table=True):
    """A job: one recording, its options and its status.

    Heartbeats rewrite the row, so the result is in another table.
    """

    __table_args__ = (
        CheckConstraint(_in("status", list(Status)), name="transcription_status"),
        CheckConstraint("(status = 'in_progress') = (lease_token IS NOT NULL)", name="transcription_lease"),
        CheckConstraint(f"({_in('status', sorted(FINAL))}) = (completed_at IS NOT NULL)", name="transcription_final"),
        UniqueConstraint("caller", "idempotency_key", name="transcription_idempotency"),
        *(
            Index(name, "priority", "caller", "run_at", "id", postgresql_where=text(f"status = 'pending' AND {which}"))
            for name, which in (
                ("transcription_claim", "audio_key IS NOT NULL"),
                ("transcription_claim_to_fetch", "audio_key IS NULL"),
            )
        ),
        # The same rows by tenant, so that a claim finds which tenants wait. Few of the entries differ, so it is small.
        *(
            Index(name, "priority", "tenant", "caller", postgresql_where=text(f"status = 'pending' AND {which}"))
            for name, which in (
                ("transcription_lanes", "audio_key IS NOT NULL"),
                ("transcription_lanes_to_fetch", "audio_key IS NULL"),
            )
        ),
        Index(
            "transcription_last_chance",
            "priority",
            "run_at",
            "id",
            postgresql_where=text(f"status = 'pending' AND crashes >= {MAX_CRASHES - 1}"),
        ),
        # Without lease_until, which heartbeats change: they stay within the row's page and touch no index.
        Index("transcription_running", "caller", postgresql_where=text("status = 'in_progress'")),
        Index("transcription_served", "caller", "started_at", postgresql_where=text("started_at IS NOT NULL")),
        Index("transcription_tenant_served", "tenant", "started_at", postgresql_where=text("started_at IS NOT NULL")),
        Index("transcription_ended", "completed_at", postgresql_where=text("completed_at IS NOT NULL")),
        Index(
            "transcription_kept_audio",
            "completed_at",
            postgresql_where=text("audio_key IS NOT NULL AND completed_at IS NOT NULL"),
        ),
        Index("transcription_audio", "audio_key", postgresql_where=text("audio_key IS NOT NULL")),
        Index(
            "transcription_original_audio",
            "original_audio_key",
            postgresql_where=text("original_audio_key IS NOT NULL"),
        ),
        Index("transcription_retry", "retry_of", "id", postgresql_where=text("retry_of IS NOT NULL")),
        Index("transcription_of_tenant", "tenant", "id"),
        *(
            Index(
                f"transcription_of_tenant_by_{column}",
                "tenant",
                column,
                "id",
                postgresql_where=text(f"{column} IS NOT NULL"),
            )
            for column in ("status", "language", "external_id")
        ),
        Index("transcription_by_metadata", text("metadata_terms(metadata)"), postgresql_using="gin"),
        # The jobs of recording batches do not count for the queue's limit.
        Index(
            "transcription_waiting",
            "tenant",
            "caller",
            postgresql_where=text("status = 'pending' AND batch_id IS NULL"),
        ),
        Index(
            "transcription_of_batch",
            "batch_id",
            "superseded",
            "status",
            postgresql_include=["duration"],
            postgresql_where=text("batch_id IS NOT NULL"),
        ),
    )

    id: UUID = Field(primary_key=True)
    caller: str = Field(sa_type=Text)  # `Caller.label`
    tenant: str = Field(default=DEFAULT_TENANT, sa_column=Column(Text, nullable=False, server_default=DEFAULT_TENANT))
    idempotency_key: str | None = Field(default=None, sa_type=Text)
    fingerprint: str = Field(sa_type=Text)
    external_id: str | None = Field(default=None, sa_type=Text)
    metadata_: dict[str, Any] = Field(sa_column=Column("metadata", JSON, nullable=False))
    options: dict[str, Any] = Field(sa_type=JSONB)
    priority: int = Field(sa_type=SmallInteger)
    webhook_urls: list[str] = Field(default_factory=list, sa_type=JSONB)
    callback_urls: list[str] = Field(default_factory=list, sa_type=JSONB)
    outputs: list[dict[str, Any]] = Field(
        default_factory=list, sa_column=Column("outputs", JSONB, nullable=False, server_default="[]")
    )
    batch_id: UUID | None = None
    # The failed or cancelled job whose recording this job transcribes once more. It may have been deleted since.
    retry_of: UUID | None = None
    # A retry gave the recording another job of the recording batch.
    superseded: bool = Field(
        default=False, sa_column=Column("superseded", Boolean, nullable=False, server_default=text("false"))
    )

    status: Status = Field(default=Status.PENDING, sa_type=Text)
    progress: float = Field(default=0.0, sa_type=Float)
    attempts: int = Field(default=0, sa_type=SmallInteger)
    crashes: int = Field(default=0, sa_type=SmallInteger)
    # The column is older than the name: it does not count attempts that ended as Interrupted.
    hindrances: int = Field(
        default=0, sa_column=Column("interruptions", SmallInteger, nullable=False, server_default="0")
    )
    slow_fetches: int = Field(
        default=0, sa_column=Column("slow_fetches", SmallInteger, nullable=False, server_default="0")
    )
    run_at: datetime = Field(sa_type=DateTime(timezone=True))
    lease_token: UUID | None = None
    leased_by: str | None = Field(default=None, sa_type=Text)
    lease_until: datetime | None = Field(default=None, sa_type=DateTime(timezone=True))
    cancel_requested: bool = False

    source: str = Field(sa_type=Text)
    source_host: str | None = Field(default=None, sa_type=Text)
    filename: str | None = Field(default=None, sa_type=Text)
    audio_key: str | None = Field(default=None, sa_type=Text)
    # If the recording is redacted, its size in the store. `bytes` and `sha256` are those of what was sent.
    redacted_bytes: int | None = Field(default=None, sa_type=BigInteger)
    redactions: dict[str, int] | None = Field(default=None, sa_column=Column("redactions", JSONB(none_as_null=True)))
    original_audio_key: str | None = Field(default=None, sa_type=Text)
    bytes: int | None = Field(default=None, sa_type=BigInteger)
    sha256: str | None = Field(default=None, sa_type=Text)
    duration: float | None = Field(default=None, sa_type=Float)
    codec: str | None = Field(default=None, sa_type=Text)
    sample_rate: int | None = None
    channels: int | None = Field(default=None, sa_type=SmallInteger)

    language: str | None = Field(default=None, sa_type=Text)
    error_code: str | None = Field(default=None, sa_type=Text)
    error_message: str | None = Field(default=None, sa_type=Text)
    retry_code: str | None = Field(default=None, sa_type=Text)
    retry_message: str | None = Field(default=None, sa_type=Text)
    warnings: list[dict[str, Any]] = Field(default_factory=list, sa_type=JSONB)
    # Null until the job is completed, and for jobs of older versions until `upkeep.search_filling` has read them.
    speakers: list[dict[str, Any]] | None = Field(default=None, sa_column=Column("speakers", JSONB(none_as_null=True)))

    # The span that jobs and deliveries of this row continue, if the request or its client has one (`app.tracing`).
    traceparent: str | None = Field(default=None, sa_type=Text)

    created_at: datetime = Field(sa_type=DateTime(timezone=True))
    started_at: datetime | None = Field(default=None, sa_type=DateTime(timezone=True))
    completed_at: datetime | None = Field(default=None, sa_type=DateTime(timezone=True))
    decoding_seconds: float | None = Field(default=None, sa_type=Float)
    transcribing_seconds: float | None = Field(default=None, sa_type=Float)


def audio_keys(job: Transcription) -> list[str]:
    """The recordings of the job in the store: the one that clients get, and the one as it was sent if both are kept."""
    return [key for key in (job.audio_key, job.original_audio_key) if key is not None]


def output_files(job: Transcription) -> list[OutputFile]:
    """The files that the job writes when it is completed."""
    return stored_output_files(job.outputs, job.id, job.external_id, job.filename, job.created_at)


def stored_output_files(
    outputs: list[dict[str, Any]], job_id: UUID, external_id: str | None, filename: str | None, created_at: datetime
) -> list[OutputFile]:
    """The files of a job with these columns."""
    if not outputs:
        return []
    return files_of(stored_outputs.validate_python(outputs), values_of(str(job_id), external_id, filename, created_at))


def unknown(transcription_id: UUID) -> NotFound:
    """The error for a job that does not exist, or that the caller may not see."""
    return NotFound(f"There is no transcription {transcription_id}.")


class StoredTranscript(SQLModel, table=True):
    """The result as JSON text, apart from the job. Formats are rendered from it and never stored."""

    __tablename__ = "transcript"

    transcription_id: UUID = Field(primary_key=True, foreign_key="transcription.id", ondelete="CASCADE")
    transcript: str = Field(sa_type=Text)


class UnredactedTranscript(SQLModel, table=True):
    """The transcript as it was before the redaction, of a job that keeps it (`Options.redact_keep`)."""

    __tablename__ = "unredacted_transcript"

    transcription_id: UUID = Field(primary_key=True, foreign_key="transcription.id", ondelete="CASCADE")
    transcript: str = Field(sa_type=Text)


class CallFacts(SQLModel, table=True):
    """What reports add up over many calls: a narrow row for each completed call (`figures.Figures`).

    The keywords are stored apart from the row, whatever their size, so that many rows fit into a page.
    """

    __tablename__ = "call_facts"
    __table_args__ = ({"postgresql_with": {"toast_tuple_target": 128}},)

    transcription_id: UUID = Field(primary_key=True, foreign_key="transcription.id", ondelete="CASCADE")
    speech_seconds: float | None = Field(default=None, sa_type=REAL)
    silence_seconds: float | None = Field(default=None, sa_type=REAL)
    holds: int | None = None
    hold_seconds: float | None = Field(default=None, sa_type=REAL)
    longest_hold: float | None = Field(default=None, sa_type=REAL)
    longest_hold_start: float | None = Field(default=None, sa_type=REAL)
    longest_hold_turn: int | None = None
    interruptions: int | None = None
    first_interruption_start: float | None = Field(default=None, sa_type=REAL)
    first_interruption_turn: int | None = None
    agent_share: float | None = Field(default=None, sa_type=REAL)
    agent_words_per_minute: float | None = Field(default=None, sa_type=REAL)
    agent_response_seconds: float | None = Field(default=None, sa_type=REAL)
    keywords: list[str] = Field(sa_column=Column("keywords", ARRAY(Text), nullable=False))


class AwaitedJob(SQLModel, table=True):
    """A job whose client waits for its end on an open connection. The row stays for a while after the job's end.

    `request_hash` stands for the recording and everything that was asked for it. At `awaited_until` the job counts as
    abandoned, unless a process that holds a connection of such a client has moved that time. It does not count as
    abandoned before `kept_until` either, which a process moves while a request arrives that may repeat this one.
    """

    __tablename__ = "awaited_job"
    __table_args__ = (Index("awaited_job_request", "caller", "request_hash"),)

    transcription_id: UUID = Field(primary_key=True, foreign_key="transcription.id", ondelete="CASCADE")
    caller: str = Field(sa_type=Text)
    request_hash: str = Field(sa_type=Text)
    awaited_until: datetime = Field(sa_type=DateTime(timezone=True))
    kept_until: datetime | None = Field(default=None, sa_type=DateTime(timezone=True))


class TranscriptPart(SQLModel, table=True):
    """Segments that became final while a job runs, as JSON text. The rows exist only until the attempt ends.

    `lease_token` is that of the attempt. `number` counts its parts from 0. All segments that begin before `until`, in
    seconds, are in this part or in an earlier one.
    """

    __tablename__ = "transcript_part"

    transcription_id: UUID = Field(primary_key=True, foreign_key="transcription.id", ondelete="CASCADE")
    lease_token: UUID = Field(primary_key=True)
    number: int = Field(primary_key=True, sa_type=Integer, sa_column_kwargs={"autoincrement": False})
    until: float = Field(sa_type=Float)
    segments: str = Field(sa_type=Text)


class Installation(SQLModel, table=True):
    """The id of this database, in its only row. It is made when it is first needed."""

    __table_args__ = (CheckConstraint("is_only", name="installation_is_only"),)

    is_only: bool = Field(default=True, sa_column=Column(Boolean, primary_key=True, server_default=text("true")))
    id: UUID


class ErasedFile(SQLModel, table=True):
    """A deleted transcription of a watched folder, whose recording may still be in the folder.

    `used_at` is when a process has searched the folder for it. The row stays for some days after that.
    """

    __tablename__ = "erased_file"
    __table_args__ = (
        Index("erased_file_key", "idempotency_key"),
        Index("erased_file_unused", "erased_at", postgresql_where=text("used_at IS NULL")),
        Index("erased_file_used", "used_at", postgresql_where=text("used_at IS NOT NULL")),
    )

    transcription_id: UUID = Field(primary_key=True)
    idempotency_key: str | None = Field(default=None, sa_type=Text)
    source: str = Field(sa_type=Text)
    erased_at: datetime = Field(sa_type=DateTime(timezone=True))
    used_at: datetime | None = Field(default=None, sa_type=DateTime(timezone=True))


class PolledJob(SQLModel, table=True):
    """What programs that poll the view `call_transtxt` search by: one narrow row for each job, with a number.

    Only triggers write it (alembic/versions/20261206_table.py), so that no version of the code forgets it. There is no
    foreign key, because a cascade would lock this row before the deliveries, which senders do in the other order.
    """

    __tablename__ = "polled_job"
    __table_args__ = (
        UniqueConstraint("transcription_id", name="polled_job_transcription"),
        Index("polled_job_by_status", "status", "number"),
        Index("polled_job_by_filename", "filename", "number"),
        Index("polled_job_by_notify_status", "notify_status", "number"),
    )

    number: int = Field(sa_column=Column(BigInteger, Identity(), primary_key=True))
    transcription_id: UUID
    status: str = Field(sa_type=Text)
    filename: str | None = Field(default=None, sa_type=Text)
    notify_status: str = Field(sa_column=Column(Text, nullable=False, server_default="not_notified"))
    notified_at: datetime | None = Field(default=None, sa_type=DateTime(timezone=True))


@dataclass(frozen=True, kw_only=True)
class NewJob:
    """What a request puts into the queue: the columns of its row that are not a default."""

    id: UUID
    caller: str
    idempotency_key: str | None = None
    fingerprint: str
    external_id: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    options: Options
    priority: int
    webhook_urls: list[str] = field(default_factory=list)
    callback_urls: list[str] = field(default_factory=list)
    outputs: list[Output] = field(default_factory=list)
    batch_id: UUID | None = None
    retry_of: UUID | None = None
    source: str
    source_host: str | None = None
    filename: str | None = None
    audio_key: str | None = None
    bytes: int | None = None
    sha256: str | None = None
    duration: float | None = None
    codec: str | None = None
    sample_rate: int | None = None
    channels: int | None = None
    traceparent: str | None = None
