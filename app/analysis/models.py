"""The tables of analyses, and of the tokens that the language model has used."""

from datetime import date, datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import (
    REAL,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Computed,
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

# The same is in alembic/versions/20261219_reports.py.
_SHARE = """coalesce(
    jsonb_path_query_first(judgement, '$.sentiment.sides[*] ? (@.speaker like_regex "^customer$" flag "i")'),
    jsonb_path_query_first(judgement, '$.sentiment ? (@.sides.size() == 1).sides[0]')
) #>> '{{shares,{mood}}}'"""
COMPUTED = {
    "category_names": "jsonb_path_query_array(categories, '$[*] ? (@.sure == true).name')",
    "scorecards": "jsonb_path_query_array(scores, '$[*] ? (@.possible > 0).scorecard')",
    "points": "jsonb_path_query_array(scores, '$[*] ? (@.possible > 0).points')",
    "possible": "jsonb_path_query_array(scores, '$[*] ? (@.possible > 0).possible')",
    "intent_name": "judgement #>> '{intent,value}'",
    "is_resolved": "(judgement #>> '{resolved,value}')::boolean",
    "mood": f"({_SHARE.format(mood='positive')})::real - ({_SHARE.format(mood='negative')})::real",
}


def _computed(name: str, kind: Any) -> Any:
    return Field(default=None, sa_column=Column(name, kind, Computed(COMPUTED[name], persisted=True)))


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

    PostgreSQL computes the columns that reports and filters read from `categories`, `scores` and `judgement`. The names
    of categories are those of which the rules are sure. `scorecards`, `points` and `possible` are in the same order.
    `mood` is the customer's, from -1 to 1: that of the channel with this label, or of the only one.
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
        Index("analysis_overdue", "run_at", postgresql_where=text("status = 'pending' AND NOT is_bulk")),
        Index("analysis_running", "tenant", postgresql_where=text("status = 'in_progress'")),
        Index("analysis_categories", "category_names", postgresql_using="gin"),
        Index("analysis_scorecards", "scorecards", postgresql_using="gin"),
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
    category_names: list[str] | None = _computed("category_names", JSONB(none_as_null=True))
    scorecards: list[str] | None = _computed("scorecards", JSONB(none_as_null=True))
    points: list[float] | None = _computed("points", JSONB(none_as_null=True))
    possible: list[float] | None = _computed("possible", JSONB(none_as_null=True))
    intent_name: str | None = _computed("intent_name", Text())
    is_resolved: bool | None = _computed("is_resolved", Boolean())
    mood: float | None = _computed("mood", REAL())
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
