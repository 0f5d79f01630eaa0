"""The queue as workers use it: claim jobs, keep them, end them. What clients change is in `changing`.

PostgreSQL is the queue, because clients read the same row that workers claim. A worker writes progress and ends only
with the lease token of its claim, so that a worker that hung and came back changes nothing. Times come from the
database's clock.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import TextClause, Uuid, and_, bindparam, func
from sqlalchemy.dialects.postgresql import ARRAY, DOUBLE_PRECISION
from sqlmodel import col, select, update
from sqlmodel.ext.asyncio.session import AsyncSession

from app.database.notifications import notify
from app.deliveries import outbox
from app.deliveries.outbox import NewEvent
from app.jobs.capacity import NO_CAPACITY, Capacity
from app.jobs.claiming import HEARTBEAT, REQUEUE_LOST, STORED, TO_FETCH, Claimed, Claims
from app.jobs.lifecycle import (
    FINAL,
    MAX_CRASHES,
    Crashed,
    Failed,
    Hindered,
    History,
    Outcome,
    Status,
    Succeeded,
    next_state,
)
from app.jobs.models import StoredTranscript, Transcription, stored_transcripts
from app.storage.store import StoredAudio

LEASE = timedelta(seconds=30)
UNTENDED = timedelta(minutes=1)
MAX_COUNTED = 1000  # interruptions; the column holds a small number
PENDING = "pending"


def changed(transcription_id: UUID) -> str:
    """The topic notified at each change of status that a client may wait for."""
    return f"changed:{transcription_id}"


def cancelled(transcription_id: UUID) -> str:
    """The topic notified when a running job should stop."""
    return f"cancelled:{transcription_id}"


async def now(session: AsyncSession) -> datetime:
    """The time by the database's clock. Times of jobs come from no other clock."""
    return (await session.exec(select(func.now()))).one()


async def claim(
    session: AsyncSession, worker: str, slots: Capacity, fetches: Capacity = NO_CAPACITY, *, last_chance: bool = True
) -> Sequence[Claimed]:
    """Take as many waiting jobs with a recording as `slots` says, and without one as `fetches` says.

    The most urgent jobs of both kinds go first, and API keys share fairly. A worker runs one job on its last chance at
    a time, so at most one is claimed, and none if `last_chance` is false.
    """
    jobs = await _claim_from(STORED, session, worker, slots, last_chance)
    last_chance = last_chance and not any(job.crashes >= MAX_CRASHES - 1 for job in jobs)
    jobs += await _claim_from(TO_FETCH, session, worker, fetches, last_chance)
    return sorted(jobs, key=lambda job: (job.priority, job.run_at, job.id))


async def _claim_from(
    claims: Claims, session: AsyncSession, worker: str, capacity: Capacity, last_chance: bool
) -> list[Claimed]:
    lease = {"worker": worker, "lease": LEASE}
    jobs = []
    if capacity.places and last_chance:
        jobs += await _changed_by(session, claims.one_on_its_last_chance.bindparams(**lease))
    if left := capacity.places - len(jobs):
        jobs += await _changed_by(session, claims.filling(replace(capacity, places=left), **lease))
    return [Claimed.of(job) for job in jobs]


async def more_urgent_waits(session: AsyncSession, job: Claimed, capacity: Capacity, *, to_fetch: bool) -> bool:
    """Whether another key has a job waiting that is more urgent than this running one, and would get its place."""
    claims = TO_FETCH if to_fetch else STORED
    statement = claims.waiting_for_place_of(claims.more_urgent, job.caller, capacity).bindparams(priority=job.priority)
    return (await session.exec(statement)).first() is not None  # type: ignore[call-overload]


async def another_waits_to_fetch(session: AsyncSession, job: Claimed, capacity: Capacity) -> bool:
    """Whether another key has a job that waits to be fetched, and would get the place of this one."""
    statement = TO_FETCH.waiting_for_place_of(TO_FETCH.of_another_key, job.caller, capacity)
    return (await session.exec(statement)).first() is not None  # type: ignore[call-overload]


@dataclass(frozen=True)
class AtEnd:
    """What else is written in the transaction that ends a job.

    `event_of` makes the event for the receivers of the job, or None if there are no receivers. If `forget_audio`, the
    row forgets its recording.
    """

    event_of: Callable[[Transcription], NewEvent | None]
    forget_audio: bool


@dataclass(frozen=True)
class Closed:
    """A job, and the recording that its row has forgotten because it ended. The caller erases it after the commit."""

    job: Transcription
    forgotten_audio: str | None


@dataclass(frozen=True)
class Beat:
    id: UUID
    token: UUID
    progress: float


async def heartbeat(session: AsyncSession, beats: Sequence[Beat]) -> dict[UUID, bool]:
    """Extend the leases and write the progress. Returns id → whether its cancellation is requested.

    If an id is missing from the answer, the worker has lost that job.
    """
    statement = HEARTBEAT.bindparams(
        bindparam("ids", [beat.id for beat in beats], type_=ARRAY(Uuid)),
        bindparam("tokens", [beat.token for beat in beats], type_=ARRAY(Uuid)),
        bindparam("progresses", [beat.progress for beat in beats], type_=ARRAY(DOUBLE_PRECISION)),
        lease=LEASE,
    )
    rows = await session.exec(statement)  # type: ignore[call-overload]
    return {row.id: row.cancel_requested for row in rows}


async def attach_audio(session: AsyncSession, job: Claimed, audio: StoredAudio) -> bool:
    """Write where the recording of a claimed job is now. Returns False if the lease was lost and nothing is written."""
    statement = update(Transcription).where(*_leased(job)).returning(col(Transcription.id))
    written = statement.values(audio_key=audio.key, bytes=audio.bytes, sha256=audio.sha256)
    return (await session.exec(written)).first() is not None


async def finish(session: AsyncSession, job: Claimed, outcome: Outcome, at_end: AtEnd) -> Status | None:
    """Write how an attempt ended. Returns the job's status, or None if its lease was lost and nothing is written."""
    stored = None
    if isinstance(outcome, Succeeded):  # in a thread, because a long transcript would hold up the event loop
        stored = await asyncio.to_thread(lambda: stored_transcripts.dump_json(outcome.transcript).decode())
    row = (await session.exec(select(Transcription).where(*_leased(job)).with_for_update())).first()
    if row is None:
        return None
    ended = await now(session)
    row.crashes += isinstance(outcome, Crashed)
    if isinstance(outcome, Hindered):
        row.interruptions = min(row.interruptions + 1, MAX_COUNTED)
    history = History(row.attempts, row.crashes, row.cancel_requested, row.interruptions)
    state = next_state(outcome, history, ended)
    row.status, row.run_at, row.attempts = state.status, state.run_at or row.run_at, state.attempts
    row.lease_token = row.leased_by = row.lease_until = None
    row.completed_at = ended if state.status.final else None
    if isinstance(outcome, Succeeded):
        assert stored is not None
        session.add(StoredTranscript(transcription_id=row.id, transcript=stored))
        row.progress = 1.0
        row.language = outcome.transcript.language
        row.warnings = [asdict(warning) for warning in outcome.transcript.warnings]
        row.sqlmodel_update(asdict(outcome.audio))
        row.decoding_seconds, row.transcribing_seconds = outcome.timings.decoding, outcome.timings.transcribing
    if isinstance(outcome, Failed | Crashed) and state.status is Status.FAILED:
        row.error_code, row.error_message = outcome.code, outcome.message
    await close(session, row, at_end)
    await notify(session, changed(row.id))
    if state.status is Status.PENDING:
        await notify(session, PENDING)
    return state.status


async def is_over(session: AsyncSession, transcription_id: UUID) -> bool:
    """Whether a job has ended or was deleted, so that its recording is not needed any more."""
    row = await session.get(Transcription, transcription_id)
    return row is None or row.status in FINAL


async def is_untended(session: AsyncSession) -> bool:
    """Whether there seems to be no worker, because jobs have been due for a while and none is running."""
    due = select(Transcription.id).where(
        Transcription.status == Status.PENDING, col(Transcription.run_at) < func.now() - UNTENDED
    )
    running = select(Transcription.id).where(Transcription.status == Status.IN_PROGRESS)
    return (await session.exec(select(and_(due.exists(), ~running.exists())))).one()


async def requeue_lost(session: AsyncSession, at_end: AtEnd) -> list[Closed]:
    """Take jobs back from workers whose leases ran out. Returns those that ended: crashed too often, or cancelled."""
    statement = REQUEUE_LOST.bindparams(max_crashes=MAX_CRASHES, code=Crashed.code, message=Crashed.message)
    jobs = await _changed_by(session, statement)
    if any(job.status == Status.PENDING for job in jobs):
        await notify(session, PENDING)
    closed = [await close(session, job, at_end) for job in jobs]
    return [each for each in closed if each.job.status in FINAL]


async def close(session: AsyncSession, job: Transcription, at_end: AtEnd) -> Closed:
    """If the job has ended, add its event in the same transaction, so that both are written or neither.

    The recording is cleared first, so that the event does not mention one that is about to be erased.
    """
    forgotten = None
    if job.status in FINAL:
        if at_end.forget_audio:
            forgotten, job.audio_key = job.audio_key, None
        if (event := at_end.event_of(job)) is not None:
            await outbox.add(session, event)
    await session.flush()
    return Closed(job, forgotten)


async def _changed_by(session: AsyncSession, statement: TextClause) -> list[Transcription]:
    """Run a statement that returns whole rows, and notify clients that wait for these jobs."""
    rows = await session.exec(select(Transcription).from_statement(statement))  # type: ignore[call-overload]
    jobs: list[Transcription] = list(rows.scalars())
    for job in jobs:
        await notify(session, changed(job.id))
    return jobs


def _leased(job: Claimed) -> tuple[Any, ...]:
    return (
        Transcription.id == job.id,
        Transcription.status == Status.IN_PROGRESS,
        Transcription.lease_token == job.lease_token,
    )
