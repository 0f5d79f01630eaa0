"""The SQL of pauses: what operators have paused, why, and until when.

A pause is a row, so that every process obeys it, whenever it starts. It ends by itself when its time is over.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Interval, bindparam, func, text
from sqlmodel import col, delete
from sqlmodel.ext.asyncio.session import AsyncSession

from app.control.models import PauseRow
from app.control.pausable import Pausable
from app.database.notifications import notify

CONTROL_TOPIC = "control"
"""Notified when an operator has decided something, so that processes obey immediately."""

CLAIMS_GO_ON = "NOT EXISTS (SELECT FROM pause WHERE what = 'claims' AND coalesce(ends_at > now(), true))"
"""The condition of every claim, in SQL."""


@dataclass(frozen=True)
class Pause:
    """A pause that has an effect. `seconds_left` is None if it lasts until an operator ends it."""

    what: Pausable
    reason: str
    by: str
    since: datetime
    ends_at: datetime | None
    seconds_left: float | None

    def in_words(self) -> str:
        until = "" if self.ends_at is None else f" until {self.ends_at:%Y-%m-%d %H:%M:%S} UTC"
        return f"paused by {self.by} since {self.since:%Y-%m-%d %H:%M:%S} UTC{until}: {self.reason}"


_IN_FORCE = text("""
    SELECT what, reason, paused_by, paused_at, ends_at, extract(epoch FROM ends_at - now())::float8 AS seconds_left
    FROM pause WHERE coalesce(ends_at > now(), true) ORDER BY what
""")

_PAUSE = text("""
    INSERT INTO pause (what, reason, paused_by, paused_at, ends_at)
    VALUES (:what, :reason, :by, now(), now() + :lasts)
    ON CONFLICT (what) DO UPDATE SET reason = excluded.reason, paused_by = excluded.paused_by,
        paused_at = excluded.paused_at, ends_at = excluded.ends_at
""").bindparams(bindparam("lasts", type_=Interval))


async def in_force(session: AsyncSession) -> dict[Pausable, Pause]:
    rows = (await session.exec(_IN_FORCE)).all()  # type: ignore[call-overload]
    return {Pausable(row[0]): Pause(Pausable(row[0]), *row[1:]) for row in rows}


async def pause(session: AsyncSession, what: Pausable, *, reason: str, by: str, lasts: timedelta | None) -> None:
    """Replaces an earlier pause of the same thing."""
    await session.exec(_PAUSE.bindparams(what=what, reason=reason, by=by, lasts=lasts))  # type: ignore[call-overload]
    await notify(session, CONTROL_TOPIC)


async def resume(session: AsyncSession, what: Pausable) -> bool:
    """Returns whether there was a pause that had an effect."""
    ended = (
        delete(PauseRow)
        .where(col(PauseRow.what) == what)
        .returning(func.coalesce(col(PauseRow.ends_at) > func.now(), True))
    )
    await notify(session, CONTROL_TOPIC)
    return bool((await session.exec(ended)).scalar())
