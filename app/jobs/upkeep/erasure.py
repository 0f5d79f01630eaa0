"""The SQL of retention: deletes ended jobs, and clears recordings from rows. The audit has an entry for each.

Its callers erase the files.
"""

from collections.abc import Collection
from datetime import timedelta

from sqlalchemy import Interval, Text, bindparam, func, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.access.audit import RETENTION, Action
from app.errors import Abandoned
from app.jobs.models import Transcription


async def needed_audio(session: AsyncSession, keys: Collection[str]) -> set[str]:
    """The keys that a row still needs, because its job has not ended or its recording is kept."""
    array = bindparam("keys", list(keys), type_=ARRAY(Text))  # one parameter: Postgres takes 32,767 of them
    needed: set[str] = set()
    for column in (col(Transcription.audio_key), col(Transcription.original_audio_key)):
        needed.update(key for key in await session.exec(select(column).where(column == func.any(array))) if key)
    return needed


async def any_audio(session: AsyncSession) -> bool:
    """Whether any row has a recording, so that the store cannot be new."""
    rows = await session.exec(select(Transcription.id).where(col(Transcription.audio_key).is_not(None)).limit(1))
    return rows.first() is not None


async def forget_audio(session: AsyncSession, age: timedelta, failed_age: timedelta, limit: int) -> list[list[str]]:
    """Clear the recordings of up to `limit` jobs that ended at least `age` ago. Returns the keys of each job.

    If somebody may want a recording again (`lifecycle.may_be_wanted_again`), `failed_age` counts instead.
    """
    statement = text("""
        WITH due AS MATERIALIZED (
            SELECT id, array_remove(ARRAY[audio_key, original_audio_key], NULL) AS keys FROM transcription
            WHERE audio_key IS NOT NULL AND completed_at <= now() - :least
                AND completed_at <= now() - CASE
                    WHEN status = 'failed' THEN :failed_age
                    WHEN status = 'cancelled' AND error_code IS DISTINCT FROM :abandoned THEN :failed_age
                    ELSE :age END
            ORDER BY completed_at
            LIMIT :limit
            FOR UPDATE SKIP LOCKED
        ), forgotten AS (
            UPDATE transcription SET audio_key = NULL, original_audio_key = NULL,
                options = CASE WHEN options ? 'redact_terms' THEN options || '{"redact_terms": []}' ELSE options END
            FROM due WHERE transcription.id = due.id
            RETURNING transcription.id, tenant, due.keys
        ), noted AS (
            INSERT INTO audit (caller, tenant, action, transcription_id)
            SELECT :retention, tenant, :action, id FROM forgotten
        )
        SELECT keys FROM forgotten
    """).bindparams(
        bindparam("age", age, type_=Interval),
        bindparam("failed_age", failed_age, type_=Interval),
        bindparam("least", min(age, failed_age), type_=Interval),  # so that the index is read only as far as needed
        limit=limit,
        abandoned=Abandoned.code,
        retention=RETENTION,
        action=Action.RECORDING_ERASED,
    )
    return list((await session.exec(statement)).scalars())  # type: ignore[call-overload]


async def erase_ended(session: AsyncSession, age: timedelta, limit: int) -> list[list[str]]:
    """Delete up to `limit` jobs that ended at least `age` ago, with their transcripts.

    Returns the keys of each job's recordings.

    The recordings that a watched folder has kept or put aside stay, because they are the operator's (`used_at` is set).

    A job with pending deliveries stays until they are delivered or given up.
    """
    statement = text("""
        WITH due AS MATERIALIZED (
            SELECT id FROM transcription
            WHERE completed_at <= now() - :age AND NOT EXISTS (
                SELECT FROM event JOIN delivery ON delivery.event_id = event.id
                WHERE event.transcription_id = transcription.id AND delivery.status = 'pending'
            )
            ORDER BY completed_at
            LIMIT :limit
            FOR UPDATE SKIP LOCKED
        ), erased AS (
            DELETE FROM transcription USING due WHERE transcription.id = due.id
            RETURNING transcription.id, tenant, idempotency_key, source,
                array_remove(ARRAY[audio_key, original_audio_key], NULL) AS keys
        ), noted AS (
            INSERT INTO audit (caller, tenant, action, transcription_id)
            SELECT :retention, tenant, :action, id FROM erased
        ), remembered AS (
            INSERT INTO erased_file (transcription_id, idempotency_key, source, erased_at, used_at)
            SELECT id, idempotency_key, source, now(), now() FROM erased WHERE source LIKE 'file://%'
        )
        SELECT keys FROM erased
    """).bindparams(age=age, limit=limit, retention=RETENTION, action=Action.CALL_ERASED)
    return list((await session.exec(statement)).scalars())  # type: ignore[call-overload]
