"""Jobs put straight into the queue, and what a worker does with them."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlmodel import select
from uuid_utils.compat import uuid7

from app.database.connections import Database
from app.jobs import queue
from app.jobs.capacity import Room
from app.jobs.claiming import Claimed
from app.jobs.lifecycle import AudioFacts, Outcome, Status, Succeeded, Timings
from app.jobs.models import NewJob, Transcription, stored_options
from app.jobs.queue import Closed
from app.jobs.queue_limit import QueueLimit
from app.transcripts.transcript import Options, Transcript

OPTIONS = stored_options.dump_python(Options(model="base"), mode="json")
SILENCE = Transcript(None, None, 1.0, (), ())
SUCCESS = Succeeded(SILENCE, AudioFacts(1.0, "pcm_mulaw", 8000, 1), Timings(0.1, 0.2))


async def enqueue(database: Database, **changes: Any) -> Transcription:
    """A job that waits, with these columns."""
    async with database.transaction() as session:
        job_id = uuid7()
        values: dict[str, Any] = {
            "id": job_id,
            "audio_key": str(job_id),
            "caller": "test",
            "fingerprint": "f",
            "options": Options(model="base"),
            "priority": 5,
            "source": "upload",
            "bytes": 1,
            "sha256": "s",
        }
        values |= changes
        given = {field.name: values.pop(field.name) for field in fields(NewJob) if field.name in values}
        job, _ = await queue.enqueue(session, NewJob(**given), QueueLimit(100))
        job.sqlmodel_update(values)
    return job


async def claim(
    database: Database, slots: int | Room = 1, worker: str = "worker", *, fetches: int | Room = 0, **how: Any
) -> Sequence[Claimed]:
    def room(places: int | Room) -> Room:
        return Room(places) if isinstance(places, int) else places

    async with database.transaction() as session:
        return await queue.claim(session, worker, room(slots), room(fetches), **how)


async def finish(database: Database, job: Claimed, outcome: Outcome, **how: Any) -> Status | None:
    async with database.transaction() as session:
        return await queue.finish(session, job, outcome, **how)


async def read(database: Database, job_id: UUID) -> Transcription:
    async with database.transaction() as session:
        return (await session.exec(select(Transcription).where(Transcription.id == job_id))).one()


async def execute(database: Database, statement: str, **values: Any) -> None:
    async with database.engine.begin() as connection:
        await connection.execute(text(statement), values)


async def expire_leases(database: Database) -> None:
    """What thirty seconds without a heartbeat would do."""
    await execute(
        database, "UPDATE transcription SET lease_until = now() - interval '1 s' WHERE lease_until IS NOT NULL"
    )


async def requeue_lost(database: Database, **how: Any) -> list[Closed]:
    async with database.transaction() as session:
        return await queue.requeue_lost(session, **how)


async def fill(database: Database, jobs: int, callers: int, *, stored: bool = True) -> None:
    """Many waiting jobs at once, spread over priorities 5 to 7."""
    await execute(
        database,
        """
        INSERT INTO transcription (id, caller, fingerprint, metadata, options, priority, webhook_urls,
            callback_urls, status, progress, attempts, crashes, run_at, cancel_requested, source, audio_key, bytes,
            sha256, warnings, created_at)
        SELECT gen_random_uuid(), 'key-' || n % :callers, 'f', '{}', '{}', 5 + n % 3, '[]', '[]', 'pending',
            0, 0, 0, now(), false, 'upload', CASE WHEN :stored THEN gen_random_uuid()::text END, 1, 's', '[]', now()
        FROM generate_series(1, :jobs) AS n
        """,
        jobs=jobs,
        callers=callers,
        stored=stored,
    )
    await execute(database, "ANALYZE transcription")
