"""The SQL of workers: the processes that run jobs, and what operators ask of one of them.

A worker that drains finishes its jobs and claims no more. Workers of older versions have no row.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta

from sqlalchemy import Interval, Text, bindparam, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import col, delete, select, update
from sqlmodel.ext.asyncio.session import AsyncSession

from app.control.models import WorkerRow, WorkerState
from app.control.pauses import CONTROL_TOPIC
from app.database.notifications import notify

LOST = timedelta(seconds=30)  # without a beat
REMEMBERED = timedelta(days=1)  # after it was seen last, because its process was killed

_NEW = text("""
    INSERT INTO worker (name, version, models, state, troubles, started_at, seen_at)
    VALUES (:name, :version, :models, :state, :troubles, now(), now())
    ON CONFLICT (name) DO UPDATE SET version = excluded.version, models = excluded.models, state = excluded.state,
        troubles = excluded.troubles, started_at = now(), seen_at = now(), drain_since = NULL, drain_by = NULL,
        drain_reason = NULL, drain_grace_seconds = NULL, drain_exits = false
""").bindparams(bindparam("models", type_=JSONB), bindparam("state", type_=Text), bindparam("troubles", type_=JSONB))

_MODELS_AWAY = text("""
    WITH alive AS (SELECT models, state, troubles FROM worker WHERE seen_at > now() - :lost)
    SELECT away.model, min(away.reason) FROM alive, jsonb_each_text(alive.troubles) AS away (model, reason)
    WHERE away.reason IS NOT NULL AND NOT EXISTS (
        SELECT FROM alive AS able
        WHERE able.state = 'working' AND able.models ? away.model AND NOT able.troubles ? away.model
    )
    GROUP BY away.model
""").bindparams(bindparam("lost", type_=Interval))

_FORGET_OLD = text("DELETE FROM worker WHERE seen_at < now() - :age").bindparams(bindparam("age", type_=Interval))


async def begin(
    session: AsyncSession,
    name: str,
    version: str,
    models: Sequence[str],
    troubles: Mapping[str, str | None] | None = None,
) -> None:
    """Writes that a process has started. A new process is a new worker, also if it has the name of an earlier one."""
    values = {"name": name, "version": version, "models": list(models), "troubles": dict(troubles or {})}
    await session.exec(_NEW.bindparams(**values, state=WorkerState.WORKING))  # type: ignore[call-overload]
    await session.exec(_FORGET_OLD.bindparams(age=REMEMBERED))  # type: ignore[call-overload]


async def seen(
    session: AsyncSession, name: str, state: WorkerState, troubles: Mapping[str, str | None]
) -> WorkerRow | None:
    """Writes that a worker lives, what it does, and why it cannot use models. Returns its row, or None."""
    written = {"state": state, "troubles": dict(troubles), "seen_at": func.now()}
    statement = update(WorkerRow).where(col(WorkerRow.name) == name).values(**written)
    return (await session.exec(statement.returning(WorkerRow))).scalars().first()


async def end(session: AsyncSession, name: str) -> None:
    await session.exec(delete(WorkerRow).where(col(WorkerRow.name) == name))


async def known(session: AsyncSession) -> Sequence[WorkerRow]:
    return (await session.exec(select(WorkerRow).order_by(col(WorkerRow.name)))).all()


async def models_away(session: AsyncSession) -> dict[str, str]:
    """The models that some workers cannot use and no other worker can, each with a reason."""
    rows = await session.exec(_MODELS_AWAY.bindparams(lost=LOST))  # type: ignore[call-overload]
    return dict(rows.all())


async def drain(
    session: AsyncSession, name: str, *, by: str, reason: str, grace_seconds: float | None, exits: bool
) -> None:
    """Let a worker drain. Without `grace_seconds`, its own setting counts. If it `exits`, its process ends then."""
    asked = {"drain_since": func.now(), "drain_by": by, "drain_reason": reason, "drain_exits": exits}
    statement = update(WorkerRow).where(col(WorkerRow.name) == name)
    await session.exec(statement.values(**asked, drain_grace_seconds=grace_seconds))
    await notify(session, CONTROL_TOPIC)


async def work_again(session: AsyncSession, name: str) -> bool:
    """Returns whether the worker was draining, or had drained."""
    draining = col(WorkerRow.name) == name, col(WorkerRow.drain_since).is_not(None)
    statement = update(WorkerRow).where(*draining).values(drain_since=None, drain_by=None, drain_reason=None)
    await notify(session, CONTROL_TOPIC)
    return bool((await session.exec(statement)).rowcount)
