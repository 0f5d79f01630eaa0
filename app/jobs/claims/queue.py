"""The queue as workers use it: claim jobs, attach fetched recordings, and finish attempts.

PostgreSQL is the queue, because clients read the same row that workers claim. `leases` extends the leases of claimed
jobs and takes lost jobs back. `changes.changing` makes the changes that clients ask for.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, TextClause, and_, func, or_, text, union
from sqlmodel import col, select, update
from sqlmodel.ext.asyncio.session import AsyncSession

from app.access.callers import tenant_of
from app.database.notifications import notify
from app.jobs import results
from app.jobs.claims import leases
from app.jobs.claims.capacity import NO_CAPACITY, Capacity, limited_to, without
from app.jobs.claims.claiming import STORED, TO_FETCH, Claimed, Claims
from app.jobs.claims.ending import AtEnd, Written, forget_terms, now, write_with_end
from app.jobs.lifecycle import (
    MAX_CRASHES,
    Crashed,
    Failed,
    Hindered,
    History,
    Outcome,
    SlowFetch,
    Status,
    Succeeded,
    final_message,
    next_state,
    why_it_waits,
)
from app.jobs.models import Transcription
from app.jobs.topics import PENDING_TOPIC, changed_topic
from app.storage.store import StoredAudio

UNTENDED = timedelta(minutes=1)
# With the values in their text, so that PostgreSQL finds the indexes of exactly these rows in every plan.
RUNNING = text("transcription.status = 'in_progress'")
DUE_QUEUES = (
    text("transcription.status = 'pending' AND transcription.audio_key IS NOT NULL"),
    text("transcription.status = 'pending' AND transcription.audio_key IS NULL"),
)
MAX_COUNTED = 1000  # hindrances; the column holds a small number


async def claim(
    session: AsyncSession,
    worker: str,
    slots: Capacity,
    fetches: Capacity = NO_CAPACITY,
    *,
    most: int | None = None,
    last_chance: bool = True,
) -> Sequence[Claimed]:
    """Claim jobs with a stored recording, as `slots` allows, and jobs that must be fetched, as `fetches` allows.

    At most `most` jobs are claimed in all. The most urgent jobs of both kinds go first, and tenants and their API keys
    share the places fairly. A worker runs at most one job that is on its last chance. So at most one such job is
    claimed, and none if `last_chance` is false.
    """
    most = slots.places + fetches.places if most is None else most
    jobs = await _claim_from(STORED, session, worker, limited_to(slots, most), last_chance)
    last_chance = last_chance and not any(job.crashes >= MAX_CRASHES - 1 for job in jobs)
    jobs += await _claim_from(TO_FETCH, session, worker, limited_to(fetches, most - len(jobs)), last_chance)
    return sorted(jobs, key=lambda job: (job.priority, job.run_at, job.id))


async def _claim_from(
    claims: Claims, session: AsyncSession, worker: str, capacity: Capacity, last_chance: bool
) -> list[Claimed]:
    lease = {"worker": worker, "lease": leases.LEASE}
    jobs = []
    if capacity.places and last_chance:
        jobs += await _changed_by(session, claims.one_more(capacity, **lease))
        for job in jobs:
            capacity = without(capacity, job.caller, (job.source_host or "") if claims is TO_FETCH else "")
    if capacity.places:
        jobs += await _changed_by(session, claims.filling(capacity, **lease))
    return [Claimed.of(job) for job in jobs]


async def more_urgent_waits(
    session: AsyncSession, job: Claimed, capacity: Capacity, only_tenant: str | None = None, *, to_fetch: bool
) -> bool:
    """Whether a job of another key waits that is more urgent than this running job and would get its place.

    `to_fetch` says which of the two queues the place belongs to. If `only_tenant` is named, the place is for its jobs.
    """
    claims = TO_FETCH if to_fetch else STORED
    waiting = claims.waiting_for_place_of(claims.more_urgent, job.caller, capacity, only_tenant)
    return (await session.exec(waiting.bindparams(priority=job.priority))).first() is not None  # type: ignore[call-overload]


async def another_waits_to_fetch(
    session: AsyncSession, job: Claimed, capacity: Capacity, only_tenant: str | None = None
) -> bool:
    """Whether a job of another key waits to be fetched and would get the place of this running job."""
    statement = TO_FETCH.waiting_for_place_of(TO_FETCH.of_another_key, job.caller, capacity, only_tenant)
    return (await session.exec(statement)).first() is not None  # type: ignore[call-overload]


async def attach_audio(session: AsyncSession, job: Claimed, audio: StoredAudio, filename: str | None = None) -> bool:
    """Write where the recording of a claimed job is now, and its name if `filename` is not None.

    If the lease was lost, write nothing and return False.
    """
    statement = update(Transcription).where(*leases.is_leased(job)).returning(col(Transcription.id))
    named = {} if filename is None else {"filename": filename}
    written = statement.values(audio_key=audio.key, bytes=audio.bytes, sha256=audio.sha256, **named)
    return (await session.exec(written)).first() is not None


async def finish(session: AsyncSession, job: Claimed, outcome: Outcome, at_end: AtEnd) -> Written | None:
    """Write how an attempt ended, and the job's next state. If the lease was lost, write nothing and return None."""
    result = None
    if isinstance(outcome, Succeeded):  # in a thread, because a long transcript would hold up the event loop
        kept = outcome.redaction.unredacted if outcome.redaction else None
        result = await asyncio.to_thread(results.prepare, outcome.transcript, tenant_of(job.caller), kept)
    row = (await session.exec(select(Transcription).where(*leases.is_leased(job)).with_for_update())).first()
    if row is None:
        return None
    ended = await now(session)
    history = _write_next_state(row, outcome, ended)
    if isinstance(outcome, Succeeded):
        assert result is not None
        await results.write(session, row, result)
        _write_facts(row, outcome)
    if row.status is Status.COMPLETED:  # a cancellation that came too late has left its reason
        row.error_code = row.error_message = None
    if isinstance(outcome, Failed | Crashed) and row.status is Status.FAILED:
        row.error_code, row.error_message = outcome.code, final_message(outcome, history)
    row.retry_code, row.retry_message = why_it_waits(outcome) if row.status is Status.PENDING else (None, None)
    written = await write_with_end(session, row, at_end)
    await notify(session, changed_topic(row.id))
    if row.status is Status.PENDING and row.run_at <= ended:  # a worker's poll finds a job that is due later
        await notify(session, PENDING_TOPIC)
    return written


def _write_next_state(row: Transcription, outcome: Outcome, ended: datetime) -> History:
    """Write the state that follows the attempt. Returns what has happened to the job so far."""
    row.crashes += isinstance(outcome, Crashed)
    row.hindrances = min(row.hindrances + isinstance(outcome, Hindered), MAX_COUNTED)
    row.slow_fetches += isinstance(outcome, SlowFetch)
    history = History(row.attempts, row.crashes, row.cancel_requested, row.hindrances, row.slow_fetches)
    state = next_state(outcome, history, ended)
    row.status, row.run_at, row.attempts = state.status, state.run_at or row.run_at, state.attempts
    row.lease_token = row.leased_by = row.lease_until = None
    row.completed_at = ended if state.status.final else None
    return history


def _write_facts(row: Transcription, success: Succeeded) -> None:
    row.progress = 1.0
    row.warnings = [asdict(warning) for warning in success.transcript.warnings]
    row.sqlmodel_update(asdict(success.audio))
    row.decoding_seconds, row.transcribing_seconds = success.timings.decoding, success.timings.transcribing
    forget_terms(row)
    if success.redaction is None:
        return
    row.redactions = dict(success.redaction.counts)
    if (silenced := success.redaction.audio) is not None:
        if row.options.get("redact_keep"):
            row.original_audio_key = row.audio_key
        row.audio_key, row.redacted_bytes = silenced.key, silenced.bytes


async def is_untended(session: AsyncSession, away: Sequence[str] = ()) -> bool:
    """Whether there seems to be no worker, because jobs have been due for a while and none is running.

    Jobs of the models that are `away` wait for them and not for a worker.
    """
    waits = col(Transcription.options)["model"].astext.not_in(away)
    stored, to_fetch = (select(Transcription.id).where(due, waits).exists() for due in _due())
    running = select(Transcription.id).where(RUNNING)
    return (await session.exec(select(and_(or_(stored, to_fetch), ~running.exists())))).one()


def _due() -> tuple[ColumnElement[bool], ...]:
    """The conditions for jobs that have been due for a while, in each of the two queues."""
    since = col(Transcription.run_at) < func.now() - UNTENDED
    return tuple(and_(of_queue, since) for of_queue in DUE_QUEUES)


async def unserved_models(session: AsyncSession, served: Sequence[str]) -> list[str]:
    """The models of jobs that have been due for a while, if `served` lacks them and no worker runs a job of theirs."""
    model = col(Transcription.options)["model"].astext
    running = select(model).where(RUNNING)
    stored, to_fetch = (select(model).where(due, model.not_in(served), model.not_in(running)) for due in _due())
    return sorted((await session.exec(union(stored, to_fetch))).scalars())  # type: ignore[call-overload]


async def _changed_by(session: AsyncSession, statement: TextClause) -> list[Transcription]:
    """Run a statement that returns whole rows, and notify clients that wait for these jobs."""
    rows = await session.exec(select(Transcription).from_statement(statement))  # type: ignore[call-overload]
    jobs: list[Transcription] = list(rows.scalars())
    for job in jobs:
        await notify(session, changed_topic(job.id))
    return jobs
