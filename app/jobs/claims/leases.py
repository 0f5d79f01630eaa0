"""Leases of claimed jobs: workers extend them, and any worker takes back the jobs whose leases ran out.

Each claim gives a job a new lease token. A worker writes about a job only with this token, so that a worker that hung
and came back changes nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

from sqlalchemy import Uuid, bindparam, func, text
from sqlalchemy.dialects.postgresql import ARRAY, DOUBLE_PRECISION
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app import metrics
from app.database.commits import after_commit
from app.database.notifications import notify
from app.jobs.claims.claiming import Claimed
from app.jobs.claims.ending import AtEnd, Written, write_with_end
from app.jobs.lifecycle import FINAL, MAX_CRASHES, Crashed, Status
from app.jobs.models import Transcription
from app.jobs.topics import PENDING_TOPIC, changed_topic

LEASE = timedelta(seconds=30)

_EXTEND = text("""
    UPDATE transcription SET lease_until = now() + :lease, progress = beat.progress
    FROM unnest(:ids, :tokens, :progresses) AS beat(id, token, progress)
    WHERE transcription.id = beat.id AND status = 'in_progress' AND lease_token = beat.token
    RETURNING transcription.id, cancel_requested
""")

_TAKE_BACK = text("""
    WITH lost AS MATERIALIZED (
        SELECT id, crashes + 1 AS crashes FROM transcription
        WHERE status = 'in_progress' AND lease_until < now()
        FOR UPDATE SKIP LOCKED
    )
    UPDATE transcription SET
        status = CASE WHEN cancel_requested THEN 'cancelled'
                      WHEN lost.crashes >= :max_crashes THEN 'failed' ELSE 'pending' END,
        completed_at = CASE WHEN cancel_requested OR lost.crashes >= :max_crashes THEN now() END,
        error_code = CASE WHEN cancel_requested THEN error_code WHEN lost.crashes >= :max_crashes THEN :code END,
        error_message = CASE WHEN cancel_requested THEN error_message
                             WHEN lost.crashes >= :max_crashes THEN :message END,
        crashes = lost.crashes, lease_token = NULL, leased_by = NULL, lease_until = NULL
    FROM lost WHERE transcription.id = lost.id
    RETURNING transcription.*
""")


@dataclass(frozen=True)
class Beat:
    """What a heartbeat says about one running job. `progress` is 0 to 1."""

    id: UUID
    token: UUID
    progress: float


async def heartbeat(session: AsyncSession, beats: Sequence[Beat]) -> dict[UUID, bool]:
    """Extend the leases and write the progress. Returns for each job whether a client wants to cancel it.

    If a job is missing from the answer, the worker has lost it.
    """
    statement = _EXTEND.bindparams(
        bindparam("ids", [beat.id for beat in beats], type_=ARRAY(Uuid)),
        bindparam("tokens", [beat.token for beat in beats], type_=ARRAY(Uuid)),
        bindparam("progresses", [beat.progress for beat in beats], type_=ARRAY(DOUBLE_PRECISION)),
        lease=LEASE,
    )
    rows = await session.exec(statement)  # type: ignore[call-overload]
    return {row.id: row.cancel_requested for row in rows}


async def take_back_lost(session: AsyncSession, at_end: AtEnd) -> list[Written]:
    """Take jobs back from workers whose leases ran out, and count a crash for each job.

    Returns only the jobs that have ended, because they crashed too often or because a client wanted to cancel them.
    """
    statement = _TAKE_BACK.bindparams(max_crashes=MAX_CRASHES, code=Crashed.code, message=Crashed.message)
    rows = await session.exec(select(Transcription).from_statement(statement))  # type: ignore[call-overload]
    written = [await write_with_end(session, job, at_end) for job in rows.scalars().all()]
    after_commit(session, partial(metrics.leases_lost, len(written)))
    for each in written:
        await notify(session, changed_topic(each.job.id))
    if any(each.job.status == Status.PENDING for each in written):
        await notify(session, PENDING_TOPIC)
    return [each for each in written if each.job.status in FINAL]


async def running_by_worker(session: AsyncSession) -> dict[str, int]:
    """How many jobs each worker runs. A worker that was lost counts until its jobs are taken back."""
    statement = select(Transcription.leased_by, func.count()).where(Transcription.status == Status.IN_PROGRESS)
    rows = await session.exec(statement.group_by(col(Transcription.leased_by)))
    return {worker: jobs for worker, jobs in rows.all() if worker is not None}


def is_leased(job: Claimed) -> tuple[Any, ...]:
    """The conditions under which a worker may write about a job that it has claimed."""
    return (
        Transcription.id == job.id,
        Transcription.status == Status.IN_PROGRESS,
        Transcription.lease_token == job.lease_token,
    )
