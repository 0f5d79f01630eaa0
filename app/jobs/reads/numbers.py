"""What the queue tells operators: how many jobs there are, how much audio waits, and for how long.

Operators ask every few seconds, also with millions of jobs, so no statement reads more than a bounded number of rows.
The jobs that wait are read by the indexes of claims. Their oldest is the first of a priority and key, as in
`claims.claiming`.
"""

from dataclasses import dataclass

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from app.jobs.lifecycle import FINAL, Status

COUNTED = 5000  # waiting jobs of each of the two queues; more are estimated
ENDED_COUNTED = 1000  # of each status
UNKNOWN_SECONDS = 180  # as in deploy/kubernetes/scaling.yaml


@dataclass(frozen=True)
class QueueNumbers:
    """`jobs` has every status. `audio_seconds` are those of jobs that could run now, and the rest of running ones."""

    jobs: dict[str, int]
    audio_seconds: float
    oldest_seconds: float


# However many jobs the statistics promise: a scan of the whole table for the first ones could take seconds.
_BY_INDEX = text("SET LOCAL enable_seqscan = off")
_WAITING = f"""
    SELECT count(*) AS jobs, coalesce(sum(seconds) FILTER (WHERE due), 0) AS seconds FROM (
        SELECT run_at <= now() AS due, coalesce(duration, {UNKNOWN_SECONDS}) AS seconds FROM transcription
        WHERE status = 'pending' AND {{recording}} LIMIT {COUNTED}
    ) AS counted
"""
_OLDEST = """
    WITH RECURSIVE first AS (
        (SELECT priority, caller, run_at FROM transcription WHERE status = 'pending' AND {recording}
         ORDER BY priority, caller, run_at, id LIMIT 1)
        UNION ALL
        SELECT following.* FROM first CROSS JOIN LATERAL (
            SELECT priority, caller, run_at FROM transcription
            WHERE status = 'pending' AND {recording} AND (priority, caller) > (first.priority, first.caller)
            ORDER BY priority, caller, run_at, id LIMIT 1
        ) AS following
    )
    SELECT min(run_at) AS run_at FROM first
"""
_STORED, _TO_FETCH = "audio_key IS NOT NULL", "audio_key IS NULL"
_QUEUE = text(f"""
    SELECT stored.jobs + to_fetch.jobs AS pending, stored.seconds + to_fetch.seconds AS waiting_seconds,
        running.jobs AS in_progress, running.seconds AS running_seconds,
        extract(epoch FROM now() - least(oldest_stored.run_at, oldest_to_fetch.run_at))::float AS oldest_seconds
    FROM ({_WAITING.format(recording=_STORED)}) AS stored, ({_WAITING.format(recording=_TO_FETCH)}) AS to_fetch,
        ({_OLDEST.format(recording=_STORED)}) AS oldest_stored,
        ({_OLDEST.format(recording=_TO_FETCH)}) AS oldest_to_fetch,
        (SELECT count(*) AS jobs, coalesce(sum(seconds), 0) AS seconds FROM (
            SELECT coalesce(duration, {UNKNOWN_SECONDS}) * (1 - progress) AS seconds FROM transcription
            WHERE status = 'in_progress' LIMIT {COUNTED}
        ) AS counted) AS running
""")
# The index begins with the tenant, so each tenant is looked up, until enough jobs are counted.
_ENDED_AS = f"""
    SELECT '{{status}}' AS status, count(*) AS jobs FROM (
        SELECT FROM owner CROSS JOIN LATERAL (
            SELECT FROM transcription WHERE tenant = owner.name AND status = '{{status}}' LIMIT {ENDED_COUNTED}
        ) AS of_owner LIMIT {ENDED_COUNTED}
    ) AS counted
"""
_ENDED = text(f"""
    WITH RECURSIVE owner AS (
        (SELECT tenant AS name FROM transcription ORDER BY tenant LIMIT 1)
        UNION ALL
        SELECT following.name FROM owner CROSS JOIN LATERAL (
            SELECT tenant AS name FROM transcription WHERE tenant > owner.name ORDER BY tenant LIMIT 1
        ) AS following
    )
    {"UNION ALL".join(_ENDED_AS.format(status=status) for status in sorted(FINAL))}
""")


async def queue_numbers(session: AsyncSession) -> QueueNumbers:
    """Counts up to ENDED_COUNTED jobs of a final status, and COUNTED of another. More are estimated by PostgreSQL."""
    await session.exec(_BY_INDEX)  # type: ignore[call-overload]
    queue = (await session.exec(_QUEUE)).one()  # type: ignore[call-overload]
    ended = await session.exec(_ENDED)  # type: ignore[call-overload]
    counted = {Status.PENDING: queue.pending, Status.IN_PROGRESS: queue.in_progress} | dict(ended.all())
    jobs = {}
    for status, count in counted.items():
        is_whole = count < (ENDED_COUNTED if status in FINAL else COUNTED)
        jobs[str(status)] = count if is_whole else max(count, await _estimate(session, status))
    waiting_seconds = queue.waiting_seconds * jobs[Status.PENDING] / (queue.pending or 1)
    return QueueNumbers(jobs, waiting_seconds + queue.running_seconds, max(0.0, queue.oldest_seconds or 0.0))


async def _estimate(session: AsyncSession, status: str) -> int:
    """How many jobs PostgreSQL expects to have this status. It reads no rows for that."""
    statement = text(f"EXPLAIN (FORMAT json) SELECT FROM transcription WHERE status = '{status}'")
    plan = await session.exec(statement)  # type: ignore[call-overload]
    return int(plan.scalar_one()[0]["Plan"]["Plan Rows"])
