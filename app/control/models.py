"""The tables of what operators decide by hand: what is paused, and which workers drain."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import Boolean, CheckConstraint, Column, DateTime, Float, Text, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from app.control.pausable import Pausable


class WorkerState(StrEnum):
    """What a worker itself says that it does. A worker that drains begins no job."""

    WORKING = "working"
    DRAINING = "draining"
    DRAINED = "drained"


def _one_of(column: str, values: type[StrEnum]) -> str:
    return f"{column} IN ({', '.join(repr(str(value)) for value in values)})"


class PauseRow(SQLModel, table=True):
    """A pause. After `ends_at` it has no effect any more; without one it lasts until an operator ends it."""

    __tablename__ = "pause"
    __table_args__ = (CheckConstraint(_one_of("what", Pausable), name="pause_what"),)

    what: Pausable = Field(sa_column=Column(Text, primary_key=True))
    reason: str = Field(sa_type=Text)
    paused_by: str = Field(sa_type=Text)
    paused_at: datetime = Field(sa_type=DateTime(timezone=True))
    ends_at: datetime | None = Field(default=None, sa_type=DateTime(timezone=True))


class WorkerRow(SQLModel, table=True):
    """A process that runs jobs. It writes `seen_at` every few seconds, and removes its row when it stops in order.

    Operators write the columns that begin with `drain`. Each start of a process clears them.
    """

    __tablename__ = "worker"
    __table_args__ = (CheckConstraint(_one_of("state", WorkerState), name="worker_state"),)

    name: str = Field(primary_key=True, sa_type=Text)
    version: str = Field(sa_type=Text)
    models: list[str] = Field(sa_type=JSONB)
    state: WorkerState = Field(sa_type=Text)
    # Why it cannot use models at the moment, by their names. Null if that is not known yet.
    troubles: dict[str, str | None] = Field(
        default_factory=dict, sa_column=Column("troubles", JSONB, nullable=False, server_default="{}")
    )
    started_at: datetime = Field(sa_type=DateTime(timezone=True))
    seen_at: datetime = Field(sa_type=DateTime(timezone=True))
    drain_since: datetime | None = Field(default=None, sa_type=DateTime(timezone=True))
    drain_by: str | None = Field(default=None, sa_type=Text)
    drain_reason: str | None = Field(default=None, sa_type=Text)
    # None is the grace of the worker's own setting.
    drain_grace_seconds: float | None = Field(default=None, sa_type=Float)
    drain_exits: bool = Field(
        default=False, sa_column=Column("drain_exits", Boolean, nullable=False, server_default=text("false"))
    )
