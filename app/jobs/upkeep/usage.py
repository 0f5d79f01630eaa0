"""How many jobs ended on each day, for each caller and model, and how many seconds of recordings they had.

The counts stay when calls are erased, because bills are written later. A trigger adds an entry in the transaction that
ends a job (alembic/versions/20261214_limits.py). Entries are only inserted, so that jobs that end at the same time do
not wait for one another. Every minute, they are added to the sums. A read takes both together.
"""

from collections.abc import Sequence
from datetime import date
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Date,
    Float,
    Identity,
    Integer,
    Text,
    bindparam,
    cast,
    func,
    select,
    text,
    union_all,
)
from sqlmodel import Field, SQLModel, col
from sqlmodel.ext.asyncio.session import AsyncSession

ENTRIES_AT_ONCE = 5000
GROUPS = ("day", "tenant", "caller", "model")
FIGURES = ("completed", "failed", "cancelled", "audio_seconds")


class UsageSum(SQLModel, table=True):
    """The jobs of one day in UTC, without those that `usage_entry` still has. The audio is that of completed jobs."""

    __tablename__ = "usage_sum"

    day: date = Field(sa_column=Column(Date, primary_key=True))
    tenant: str = Field(sa_column=Column(Text, primary_key=True))
    caller: str = Field(sa_column=Column(Text, primary_key=True))
    model: str = Field(sa_column=Column(Text, primary_key=True))
    completed: int = Field(sa_type=Integer)
    failed: int = Field(sa_type=Integer)
    cancelled: int = Field(sa_type=Integer)
    audio_seconds: float = Field(sa_type=Float)


class UsageEntry(SQLModel, table=True):
    """A job that has ended within the last minute or so. Only a trigger inserts rows."""

    __tablename__ = "usage_entry"

    id: int = Field(sa_column=Column(BigInteger, Identity(), primary_key=True))
    day: date = Field(sa_type=Date)
    tenant: str = Field(sa_type=Text)
    caller: str = Field(sa_type=Text)
    model: str = Field(sa_type=Text)
    status: str = Field(sa_type=Text)
    audio_seconds: float = Field(sa_type=Float)


class UsageBy(StrEnum):
    """What the rows of a report are told apart by."""

    DAY = "day"
    KEY = "key"
    MODEL = "model"
    TENANT = "tenant"

    @property
    def columns(self) -> tuple[str, ...]:
        return {"key": ("tenant", "caller")}.get(self.value, (self.value,))


async def read(
    session: AsyncSession, first: date, last: date, by: Sequence[UsageBy], tenant: str | None
) -> Sequence[Any]:
    """The sums from the day `first` to the day `last`, of one tenant or of all. Each group is a row."""
    own: list[Any] = [col(getattr(UsageSum, name)) for name in (*GROUPS, *FIGURES)]
    entered: list[Any] = [col(getattr(UsageEntry, name)) for name in GROUPS]
    entered += [cast(col(UsageEntry.status) == status, Integer) for status in FIGURES[:-1]]
    both = []
    for table, columns in ((UsageSum, own), (UsageEntry, [*entered, col(UsageEntry.audio_seconds)])):
        wanted = select(*columns).where(col(table.day).between(first, last))
        both.append(wanted if tenant is None else wanted.where(col(table.tenant) == tenant))
    rows = union_all(*both).subquery()
    groups = [rows.c[name] for name in dict.fromkeys(name for each in by for name in each.columns)]
    totals = [func.sum(rows.c[name]).label(name) for name in FIGURES]
    counted = select(*groups, *totals).group_by(*groups).order_by(*groups)
    return list((await session.exec(counted)).all())  # type: ignore[call-overload]


async def add_up(session: AsyncSession) -> int:
    """Add some entries to the sums. Returns how many. Several processes may do so at the same time."""
    statement = text("""
        WITH taken AS (
            DELETE FROM usage_entry WHERE id IN (
                SELECT id FROM usage_entry ORDER BY id LIMIT :limit FOR UPDATE SKIP LOCKED
            ) RETURNING day, tenant, caller, model, status, audio_seconds
        ), added AS (
            INSERT INTO usage_sum AS total (day, tenant, caller, model, completed, failed, cancelled, audio_seconds)
            SELECT day, tenant, caller, model, count(*) FILTER (WHERE status = 'completed'),
                   count(*) FILTER (WHERE status = 'failed'), count(*) FILTER (WHERE status = 'cancelled'),
                   sum(audio_seconds)
            FROM taken GROUP BY day, tenant, caller, model
            ORDER BY day, tenant, caller, model  -- so that two processes lock the sums in the same order
            ON CONFLICT (day, tenant, caller, model) DO UPDATE SET
                completed = total.completed + excluded.completed,
                failed = total.failed + excluded.failed,
                cancelled = total.cancelled + excluded.cancelled,
                audio_seconds = total.audio_seconds + excluded.audio_seconds
        )
        SELECT count(*) FROM taken
    """).bindparams(bindparam("limit", ENTRIES_AT_ONCE, type_=Integer, literal_execute=True))
    return int((await session.exec(statement)).scalar_one())  # type: ignore[call-overload]
