"""The tables of analyses, and of the tokens that the language model has used."""

from datetime import date, datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Index,
    Integer,
    SmallInteger,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel


class AnalysisStatus(StrEnum):
    """How far an analysis is. The last two are final, until somebody asks for the analysis again."""

    PENDING = "pending"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"


class Analysis(SQLModel, table=True):
    """What was found out about a completed transcription. A transcription has at most one analysis.

    An analysis has up to two steps: the rules, and then the language model if it `wants_judgement`. In the second one
    it `waits_for_model`. One that `is_bulk` lets others go first, because somebody asked for many at the same time.

    `judgement` is `judging.Judged.fields`, and `dropped` counts what the model said without turns of the call that
    support it. `tokens` are those of all attempts. While the status is `pending`, the error is that of the last
    attempt.
    """

    __table_args__ = (
        CheckConstraint("status IN ('pending', 'in_progress', 'completed', 'failed')", name="analysis_status"),
        CheckConstraint("(status = 'in_progress') = (lease_token IS NOT NULL)", name="analysis_lease"),
        CheckConstraint("(status IN ('completed', 'failed')) = (completed_at IS NOT NULL)", name="analysis_final"),
        Index(
            "analysis_due",
            "tenant",
            "waits_for_model",
            "is_bulk",
            "run_at",
            "transcription_id",
            postgresql_where=text("status = 'pending'"),
        ),
        Index("analysis_running", "tenant", postgresql_where=text("status = 'in_progress'")),
    )

    transcription_id: UUID = Field(primary_key=True, foreign_key="transcription.id", ondelete="CASCADE")
    tenant: str = Field(sa_type=Text)
    wants_judgement: bool = Field(sa_type=Boolean)
    waits_for_model: bool = Field(default=False, sa_column=Column(Boolean, nullable=False, server_default="false"))
    is_bulk: bool = Field(default=False, sa_column=Column(Boolean, nullable=False, server_default="false"))
    status: AnalysisStatus = Field(default=AnalysisStatus.PENDING, sa_type=Text)
    run_at: datetime = Field(sa_type=DateTime(timezone=True))
    attempts: int = Field(default=0, sa_column=Column(SmallInteger, nullable=False, server_default="0"))
    lease_token: UUID | None = None
    lease_until: datetime | None = Field(default=None, sa_type=DateTime(timezone=True))

    categories: list[dict[str, Any]] | None = Field(default=None, sa_type=JSONB(none_as_null=True))
    scores: list[dict[str, Any]] | None = Field(default=None, sa_type=JSONB(none_as_null=True))
    judgement: dict[str, Any] | None = Field(default=None, sa_type=JSONB(none_as_null=True))
    dropped: int = Field(default=0, sa_column=Column(Integer, nullable=False, server_default="0"))
    model: str | None = Field(default=None, sa_type=Text)
    prompt_version: str | None = Field(default=None, sa_type=Text)
    language: str | None = Field(default=None, sa_type=Text)
    tokens: int = Field(default=0, sa_column=Column(BigInteger, nullable=False, server_default="0"))
    error_code: str | None = Field(default=None, sa_type=Text)
    error_message: str | None = Field(default=None, sa_type=Text)

    created_at: datetime = Field(sa_type=DateTime(timezone=True))
    started_at: datetime | None = Field(default=None, sa_type=DateTime(timezone=True))
    completed_at: datetime | None = Field(default=None, sa_type=DateTime(timezone=True))


class LanguageModelUse(SQLModel, table=True):
    """The tokens that the language model has read and written for a tenant on a day in UTC. They outlive the calls."""

    __tablename__ = "language_model_use"

    day: date = Field(sa_column=Column(Date, primary_key=True))
    tenant: str = Field(sa_column=Column(Text, primary_key=True))
    tokens: int = Field(sa_type=BigInteger)
