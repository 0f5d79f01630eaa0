"""The audit: who read, exported, cancelled, retried or erased which call, and who changed keys, limits,
categories and scorecards.

An entry is written in the transaction that reads or changes, so that nobody reads without a trace, even if the process
is killed. It holds ids and names, and no text of a call. Erasing a call leaves its entries.
"""

from collections.abc import Collection
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import BigInteger, Column, DateTime, Identity, Index, Interval, Text, Uuid, bindparam, func, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlmodel import Field, SQLModel
from sqlmodel.ext.asyncio.session import AsyncSession

from app.access.callers import Caller, tenant_of

log = structlog.stdlib.get_logger("callscribe.audit")


RETENTION, BATCH = "retention", "batch"
"""Who erases calls when they are old enough, and who cancels or erases those of a batch. No key has these names."""
CLI = "cli"
"""Before the name of a user who runs a command. No tenant has this name."""


class Action(StrEnum):
    """What was done."""

    TRANSCRIPT_READ = "transcript.read"
    TRANSCRIPT_STREAMED = "transcript.streamed"
    TRANSCRIPT_SEARCHED = "transcript.searched"
    TRANSCRIPT_EXPORTED = "transcript.exported"
    ANALYSIS_READ = "analysis.read"
    TRANSCRIPT_UNREDACTED = "transcript.unredacted"
    REPORT_READ = "report.read"
    RECORDING_READ = "recording.read"
    RECORDING_UNREDACTED = "recording.unredacted"
    RECORDING_ERASED = "recording.erased"
    CALL_CANCELLED = "call.cancelled"
    CALL_RETRIED = "call.retried"
    CALL_ANALYSED = "call.analysed"
    CALLS_ANALYSED = "calls.analysed"
    CALL_ERASED = "call.erased"
    BATCH_CANCELLED = "batch.cancelled"
    BATCH_RETRIED = "batch.retried"
    BATCH_ERASED = "batch.erased"
    KEY_CREATED = "key.created"
    KEY_REVOKED = "key.revoked"
    LIMITS_CHANGED = "limits.changed"
    CATEGORY_CHANGED = "category.changed"
    CATEGORY_DELETED = "category.deleted"
    SCORECARD_CHANGED = "scorecard.changed"
    SCORECARD_DELETED = "scorecard.deleted"


@dataclass(frozen=True)
class Origin:
    """Where a request came from, and its id."""

    address: str | None = None
    request_id: str | None = None


NOWHERE = Origin()
origin: ContextVar[Origin] = ContextVar("origin")
"""Set for each request, so that entries have it without every function between handing it on."""


class AuditEntry(SQLModel, table=True):
    """`caller` is who did it: a key's caller by its label, a part of the service, or a user of a command as `cli:name`.

    `tenant` owns what was read or changed. `about` names what is no call, such as a key or a batch.
    """

    __tablename__ = "audit"
    __table_args__ = (
        Index("audit_by_call", "transcription_id", "at", postgresql_where=text("transcription_id IS NOT NULL")),
        Index("audit_by_caller", "caller", "at", "id"),
    )

    at: datetime = Field(
        sa_column=Column(DateTime(timezone=True), primary_key=True, server_default=func.now(), autoincrement=False)
    )
    id: int = Field(sa_column=Column(BigInteger, Identity(), primary_key=True))
    caller: str = Field(sa_type=Text)
    tenant: str = Field(sa_type=Text)
    action: str = Field(sa_type=Text)
    transcription_id: UUID | None = Field(default=None, sa_type=Uuid)
    about: str | None = Field(default=None, sa_type=Text)
    details: dict[str, Any] | None = Field(default=None, sa_type=JSONB(none_as_null=True))
    address: str | None = Field(default=None, sa_type=Text)
    request_id: str | None = Field(default=None, sa_type=Text)


# A read does not wait until the entry is on the disk, but PostgreSQL has it before the client gets the answer. Only a
# crash of PostgreSQL itself can lose an entry, of the last second. `set_config` holds until the end of the transaction.
_READ = text("""
    INSERT INTO audit (caller, tenant, action, transcription_id, address, request_id)
    SELECT :caller, :tenant, :action, call, :address, :request_id
    FROM unnest(:calls) AS call, (SELECT set_config('synchronous_commit', 'off', true)) AS soon
""").bindparams(bindparam("calls", type_=ARRAY(Uuid)))

_CHANGE = text("""
    INSERT INTO audit (caller, tenant, action, transcription_id, about, details, address, request_id)
    SELECT :caller, :tenant, :action, call, :about, :details, :address, :request_id FROM unnest(:calls) AS call
""").bindparams(bindparam("calls", type_=ARRAY(Uuid)), bindparam("details", type_=JSONB(none_as_null=True)))


async def note_read(session: AsyncSession, action: Action, caller: Caller, calls: Collection[UUID]) -> None:
    """Write that the caller reads these calls. The transaction must change nothing else."""
    who = {"caller": caller.label, "tenant": caller.tenant}
    await _note(session, _READ, action, who, calls or [None])


async def note_change(
    session: AsyncSession,
    action: Action,
    caller: str,
    *,
    calls: Collection[UUID | None] = (None,),
    tenant: str | None = None,
    about: str | None = None,
    details: dict[str, Any] | None = None,
) -> None:
    """Write that the caller with this label changes or erases something. By default it is in the caller's tenant."""
    who = {"caller": caller, "tenant": tenant or tenant_of(caller), "about": about, "details": details}
    await _note(session, _CHANGE, action, who, calls)


async def _note(
    session: AsyncSession, statement: Any, action: Action, who: dict[str, Any], calls: Collection[UUID | None]
) -> None:
    came = origin.get(NOWHERE)
    values = who | {"action": action, "calls": list(calls), "address": came.address, "request_id": came.request_id}
    await session.exec(statement.bindparams(**values))
    jobs = [str(call) for call in calls if call is not None]
    shown = {"job": jobs[0]} if len(jobs) == 1 else {"jobs": jobs} if jobs else {}
    known = {name: value for name, value in who.items() if value is not None and name != "details"}
    log.info("audit", action=str(action), **known, **shown, **({"address": came.address} if came.address else {}))


async def erase_old(session: AsyncSession, age: timedelta, limit: int) -> int:
    """Delete up to `limit` entries that are at least `age` old. Returns how many."""
    statement = text("""
        DELETE FROM audit WHERE (at, id) IN (
            SELECT at, id FROM audit WHERE at <= now() - :age ORDER BY at, id LIMIT :limit FOR UPDATE SKIP LOCKED
        )
    """).bindparams(bindparam("age", age, type_=Interval), limit=limit)
    return int((await session.exec(statement)).rowcount)  # type: ignore[call-overload]
