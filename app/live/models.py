"""The tables of live calls: those that go on, their live text for everybody who follows them, and their tokens."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import REAL, Boolean, Column, DateTime, Index, Integer, LargeBinary, SmallInteger, Text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlmodel import Field, SQLModel


class LiveCallRow(SQLModel, table=True):
    """A live call. Its id becomes that of its transcription. The row is erased some minutes after the call's end.

    The process that has the connection updates `beat_at`. `partials` holds the newest partial of each channel by its
    number. `has_recording` is true from the moment that the transcription exists.
    """

    __tablename__ = "live_call"
    __table_args__ = (Index("live_call_tenant", "tenant", "id"),)

    id: UUID = Field(primary_key=True)
    tenant: str = Field(sa_type=Text)
    caller: str = Field(sa_type=Text)
    dialect: str = Field(sa_type=Text)
    external_id: str | None = Field(default=None, sa_type=Text)
    metadata_: dict[str, Any] = Field(sa_column=Column("metadata", JSONB, nullable=False))
    speakers: list[str] = Field(sa_type=ARRAY(Text))
    sound_channels: int = Field(sa_type=SmallInteger)
    heard_seconds: float = Field(default=0.0, sa_type=REAL)
    partials: dict[str, Any] = Field(default_factory=dict, sa_type=JSONB)
    has_recording: bool = Field(default=False, sa_type=Boolean)
    started_at: datetime = Field(default=None, sa_type=DateTime(timezone=True))
    beat_at: datetime = Field(default=None, sa_type=DateTime(timezone=True))
    interrupted_at: datetime | None = Field(default=None, sa_type=DateTime(timezone=True))
    ended_at: datetime | None = Field(default=None, sa_type=DateTime(timezone=True))


class LiveEventRow(SQLModel, table=True):
    """An event that a live call sent to its client and that stays: all events except partials. Numbered from 1."""

    __tablename__ = "live_event"

    call_id: UUID = Field(foreign_key="live_call.id", ondelete="CASCADE", primary_key=True)
    number: int = Field(sa_type=Integer, primary_key=True)
    event: dict[str, Any] = Field(sa_type=JSONB)


class LiveToken(SQLModel, table=True):
    """A token. `hash` is the SHA-256 of its text, and `key_check` recognizes the key that made it."""

    __tablename__ = "live_token"
    __table_args__ = (Index("live_token_expires_at", "expires_at"),)

    hash: bytes = Field(sa_type=LargeBinary, primary_key=True)
    caller: str = Field(sa_type=Text)
    key_check: bytes = Field(sa_type=LargeBinary)
    expires_at: datetime = Field(sa_type=DateTime(timezone=True))
