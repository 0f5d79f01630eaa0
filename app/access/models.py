"""The tables of tenants, keys and limits. A key itself is never stored, only its hash."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Column, DateTime, Float, Index, Integer, LargeBinary, SmallInteger, Text, func
from sqlalchemy.dialects.postgresql import ARRAY
from sqlmodel import Field, SQLModel

from app.access.callers import Limits


def _limits_are_positive(table: str) -> CheckConstraint:
    return CheckConstraint(
        "requests_per_minute > 0 AND pending_jobs >= 0 AND audio_hours_per_day >= 0", name=f"{table}_limits"
    )


def _now() -> Any:
    return Column(DateTime(timezone=True), nullable=False, server_default=func.now())


class Limited(SQLModel):
    """The columns of limits. Null means no limit."""

    requests_per_minute: int | None = Field(default=None, sa_type=Integer)
    pending_jobs: int | None = Field(default=None, sa_type=Integer)
    audio_hours_per_day: float | None = Field(default=None, sa_type=Float)

    @property
    def limits(self) -> Limits:
        return Limits(self.requests_per_minute, self.pending_jobs, self.audio_hours_per_day)


class Tenant(Limited, table=True):
    """A company or a department that owns calls. Its limits are for all of its keys together."""

    __table_args__ = (_limits_are_positive("tenant"),)

    name: str = Field(sa_column=Column(Text, primary_key=True))
    created_at: datetime = Field(default=None, sa_column=_now())


class ApiKey(Limited, table=True):
    """A key. `hash` is the SHA-256 of its text. `hint` is how the text begins, so that people recognize it.

    `last_used_at` may be some minutes late.
    """

    __tablename__ = "api_key"
    __table_args__ = (
        _limits_are_positive("api_key"),
        CheckConstraint("most_urgent BETWEEN 0 AND 9", name="api_key_most_urgent"),
        Index("api_key_hash", "hash", unique=True),
        Index("api_key_of_tenant", "tenant", "name"),
    )

    id: UUID = Field(primary_key=True)
    tenant: str = Field(sa_type=Text, foreign_key="tenant.name")
    name: str = Field(sa_type=Text)
    hash: bytes = Field(sa_type=LargeBinary)
    hint: str = Field(sa_type=Text)
    scopes: list[str] = Field(sa_type=ARRAY(Text))
    most_urgent: int = Field(default=0, sa_column=Column(SmallInteger, nullable=False, server_default="0"))
    created_by: str = Field(sa_type=Text)
    created_at: datetime = Field(default=None, sa_column=_now())
    expires_at: datetime | None = Field(default=None, sa_type=DateTime(timezone=True))
    revoked_at: datetime | None = Field(default=None, sa_type=DateTime(timezone=True))
    last_used_at: datetime | None = Field(default=None, sa_type=DateTime(timezone=True))


class RequestCount(SQLModel, table=True):
    """How many requests a key or a tenant (`access.subjects`) has sent in its minute, which began with the first one.

    The table is not written to PostgreSQL's log, so that a request costs no write to the disk. It is empty after a
    crash of PostgreSQL, and then all minutes begin anew.
    """

    __tablename__ = "request_count"
    __table_args__ = ({"prefixes": ["UNLOGGED"]},)

    subject: str = Field(sa_column=Column(Text, primary_key=True))
    began_at: datetime = Field(sa_type=DateTime(timezone=True))
    requests: int = Field(sa_type=Integer)
