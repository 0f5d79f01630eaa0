"""Adds jobs to the queue without HTTP, and does with them what a worker does."""

from collections.abc import Sequence
from dataclasses import fields
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import func, text
from sqlmodel import col, select, update
from uuid_utils.compat import uuid7

from app.access.callers import Caller
from app.database.connections import Database
from app.jobs.changes import changing
from app.jobs.changes.queue_limit import QueueLimit
from app.jobs.claims import leases, queue
from app.jobs.claims.capacity import Capacity
from app.jobs.claims.claiming import Claimed
from app.jobs.claims.ending import AtEnd, Written
from app.jobs.events import event_of
from app.jobs.lifecycle import AudioFacts, Outcome, Status, Succeeded, Timings
from app.jobs.models import NewJob, Transcription, stored_options
from app.transcripts.transcript import Options, Transcript

MODEL = "base"
OPTIONS = stored_options.dump_python(Options(model=MODEL), mode="json")
SILENCE = Transcript(None, None, 1.0, (), ())
KEEP_AUDIO, FORGET_AUDIO = AtEnd(event_of, forget_audio=False), AtEnd(event_of, forget_audio=True)
TESTER = Caller("test")
SUCCESS = Succeeded(SILENCE, AudioFacts(1.0, "pcm_mulaw", 8000, 1), Timings(0.1, 0.2))


async def enqueue(database: Database, **changes: Any) -> Transcription:
    """Adds a waiting job with these columns, and returns it."""
    async with database.transaction() as session:
        job_id = uuid7()
        values: dict[str, Any] = {
            "id": job_id,
            "audio_key": str(job_id),
            "caller": TESTER.name,
            "fingerprint": "f",
            "options": Options(model="base"),
            "priority": 5,
            "source": "upload",
            "bytes": 1,
            "sha256": "s",
        }
        values |= changes
        new = {field.name: values.pop(field.name) for field in fields(NewJob) if field.name in values}
        job, _ = await changing.enqueue(session, NewJob(**new), QueueLimit(100))
        job.sqlmodel_update(values)
    return job


async def claim(
    database: Database, slots: int | Capacity = 1, worker: str = "worker", *, fetches: int | Capacity = 0, **how: Any
) -> Sequence[Claimed]:
    def capacity(places: int | Capacity) -> Capacity:
        return Capacity(places) if isinstance(places, int) else places

    async with database.transaction() as session:
        return await queue.claim(session, worker, capacity(slots), capacity(fetches), **how)


async def finish(database: Database, job: Claimed, outcome: Outcome, at_end: AtEnd = KEEP_AUDIO) -> Status | None:
    async with database.transaction() as session:
        written = await queue.finish(session, job, outcome, at_end)
        return written.job.status if written else None


async def date_end(database: Database, job_id: UUID, days_ago: float) -> None:
    """Make an ended job look as if it had ended some days ago."""
    async with database.transaction() as session:
        at = func.now() - timedelta(days=days_ago)
        await session.exec(update(Transcription).where(col(Transcription.id) == job_id).values(completed_at=at))


async def read(database: Database, job_id: UUID) -> Transcription:
    async with database.transaction() as session:
        return (await session.exec(select(Transcription).where(Transcription.id == job_id))).one()


async def execute(database: Database, statement: str, **values: Any) -> None:
    async with database.engine.begin() as connection:
        await connection.execute(text(statement), values)


async def execute_at(address: str, *statements: str) -> None:
    database = Database(address)
    try:
        async with database.engine.begin() as connection:
            for statement in statements:
                await connection.execute(text(statement))
    finally:
        await database.close()


async def expire_leases(database: Database) -> None:
    """Does what thirty seconds without a heartbeat would do."""
    await execute(
        database, "UPDATE transcription SET lease_until = now() - interval '1 s' WHERE lease_until IS NOT NULL"
    )


async def take_back_lost(database: Database, at_end: AtEnd = KEEP_AUDIO) -> list[Written]:
    async with database.transaction() as session:
        return await leases.take_back_lost(session, at_end)


async def fill(database: Database, jobs: int, callers: int, *, stored: bool = True) -> None:
    """Adds many waiting jobs with priorities 5 to 7 in one statement."""
    await execute(
        database,
        """
        INSERT INTO transcription (id, caller, fingerprint, metadata, options, priority, webhook_urls,
            callback_urls, status, progress, attempts, crashes, run_at, cancel_requested, source, audio_key, bytes,
            sha256, warnings, created_at)
        SELECT gen_random_uuid(), 'key-' || n % :callers, 'f', '{}',
            jsonb_build_object('model', CAST(:model AS text)), 5 + n % 3, '[]', '[]', 'pending',
            0, 0, 0, now(), false, 'upload', CASE WHEN :stored THEN gen_random_uuid()::text END, 1, 's', '[]', now()
        FROM generate_series(1, :jobs) AS n
        """,
        jobs=jobs,
        callers=callers,
        stored=stored,
        model=MODEL,
    )
    await execute(database, "ANALYZE transcription")
