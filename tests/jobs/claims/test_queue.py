"""The queue's statements on a real database."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from sqlmodel import col, select, update
from uuid_utils.compat import uuid7

from app.database.connections import Database
from app.errors import AlreadyFinal, IdempotencyKeyReused, NotFound, QueueFull
from app.jobs.changes import changing
from app.jobs.changes.queue_limit import QueueLimit
from app.jobs.claims import ending, leases, queue
from app.jobs.lifecycle import (
    MAX_CRASHES,
    Cancelled,
    Crashed,
    Failed,
    History,
    Interrupted,
    Outcome,
    Status,
    next_state,
)
from app.jobs.models import NewJob, StoredTranscript, Transcription
from app.transcripts.transcript import Options
from testing.rows import (
    KEEP_AUDIO,
    SUCCESS,
    TESTER,
    claim,
    enqueue,
    execute,
    expire_leases,
    finish,
    read,
    take_back_lost,
)


async def test_claims_follow_priority_then_age(database: Database) -> None:
    older = await enqueue(database)
    newer = await enqueue(database)
    urgent = await enqueue(database, priority=0)
    assert [job.id for job in await claim(database, 3)] == [urgent.id, older.id, newer.id]


async def test_a_job_is_not_claimed_before_its_time(database: Database) -> None:
    async with database.transaction() as session:
        later = await ending.now(session) + timedelta(hours=1)
    await enqueue(database, run_at=later)
    assert await claim(database) == []


async def test_concurrent_claimers_never_get_the_same_job(database: Database) -> None:
    ids = {(await enqueue(database)).id for _ in range(20)}
    claimed = await asyncio.gather(*(claim(database, 3) for _ in range(8)))
    taken = [job.id for jobs in claimed for job in jobs]
    assert len(taken) == len(set(taken)) == 20
    assert set(taken) == ids


async def test_a_claim_gives_a_lease_and_counts_an_attempt(database: Database) -> None:
    await enqueue(database)
    [claimed] = await claim(database)
    job = await read(database, claimed.id)
    assert (job.status, job.attempts, job.leased_by) == (Status.IN_PROGRESS, 1, "worker")
    assert job.lease_token == claimed.lease_token
    assert job.started_at is not None


async def test_success_stores_status_and_transcript_together(database: Database) -> None:
    await enqueue(database)
    [job] = await claim(database)
    assert await finish(database, job, SUCCESS) is Status.COMPLETED
    row = await read(database, job.id)
    assert (row.status, row.progress, row.lease_token) == (Status.COMPLETED, 1.0, None)
    async with database.transaction() as session:
        assert await session.get(StoredTranscript, job.id) is not None


@pytest.mark.parametrize("outcome", [SUCCESS, Failed("bad_media", "broken"), Cancelled(), Interrupted()])
async def test_a_worker_without_the_lease_changes_nothing(database: Database, outcome: Outcome) -> None:
    await enqueue(database)
    [stale] = await claim(database)
    await expire_leases(database)
    await take_back_lost(database)
    [current] = await claim(database)
    assert await finish(database, stale, outcome) is None
    assert (await read(database, stale.id)).lease_token == current.lease_token


async def test_a_heartbeat_extends_the_lease_and_reports_cancelled_and_lost_jobs(database: Database) -> None:
    await enqueue(database)
    await enqueue(database)
    mine, cancelled = await claim(database, 2)
    async with database.transaction() as session:
        await changing.request_cancel(session, cancelled.id, TESTER, KEEP_AUDIO)
    await expire_leases(database)
    beats = [
        leases.Beat(mine.id, mine.lease_token, 0.5),
        leases.Beat(cancelled.id, cancelled.lease_token, 0.1),
        leases.Beat(uuid4(), uuid4(), 0.0),
    ]
    async with database.transaction() as session:
        alive = await leases.heartbeat(session, beats)
    assert alive == {mine.id: False, cancelled.id: True}
    assert (await read(database, mine.id)).progress == 0.5
    assert await take_back_lost(database) == []
    assert (await read(database, mine.id)).status == Status.IN_PROGRESS


async def test_a_lost_job_is_tried_again_and_given_up_after_its_last_crash(database: Database) -> None:
    job = await enqueue(database)
    for crash in range(1, MAX_CRASHES + 1):
        await claim(database)
        await expire_leases(database)
        ended = await take_back_lost(database)
        row = await read(database, job.id)
        assert row.crashes == crash
        if crash < MAX_CRASHES:
            assert (row.status, ended) == (Status.PENDING, [])
    assert [closed.job.id for closed in ended] == [job.id]
    assert (row.status, row.error_code) == (Status.FAILED, "worker_crashed")


async def test_a_lost_job_with_a_request_to_cancel_is_cancelled(database: Database) -> None:
    job = await enqueue(database)
    await claim(database)
    async with database.transaction() as session:
        await changing.request_cancel(session, job.id, TESTER, KEEP_AUDIO)
    await expire_leases(database)
    await take_back_lost(database)
    row = await read(database, job.id)
    assert (row.status, row.error_code) == (Status.CANCELLED, None)


@pytest.mark.parametrize("crashes", range(MAX_CRASHES))
@pytest.mark.parametrize("cancel_requested", [False, True])
async def test_a_lost_job_gets_the_state_that_the_lifecycle_gives_to_a_crash(
    database: Database, crashes: int, cancel_requested: bool
) -> None:
    job = await enqueue(database)
    await claim(database)
    change = "UPDATE transcription SET crashes = :crashes, cancel_requested = :cancel_requested"
    await execute(database, change, crashes=crashes, cancel_requested=cancel_requested)
    await expire_leases(database)
    await take_back_lost(database)
    row = await read(database, job.id)
    expected = next_state(Crashed(), History(1, crashes + 1, cancel_requested), row.run_at)
    assert (row.status, row.attempts, row.crashes) == (expected.status, expected.attempts, crashes + 1)
    assert row.error_code == (Crashed.code if expected.status is Status.FAILED else None)


async def test_a_waiting_job_can_be_cancelled_and_a_final_job_cannot(database: Database) -> None:
    job = await enqueue(database)
    async with database.transaction() as session:
        assert (await changing.request_cancel(session, job.id, TESTER, KEEP_AUDIO)).job.status == Status.CANCELLED
    async with database.transaction() as session:
        with pytest.raises(AlreadyFinal):
            await changing.request_cancel(session, job.id, TESTER, KEEP_AUDIO)
    assert await claim(database) == []


async def test_erasing_a_job_erases_its_transcript_and_its_worker_can_record_nothing_more(database: Database) -> None:
    await enqueue(database)
    await enqueue(database)
    done, running = await claim(database, 2)
    await finish(database, done, SUCCESS)
    for job in (done, running):
        async with database.transaction() as session:
            await changing.erase(session, job.id, TESTER)
    assert await finish(database, running, SUCCESS) is None
    async with database.transaction() as session:
        assert (await session.exec(select(StoredTranscript))).all() == []
        with pytest.raises(NotFound):
            await changing.erase(session, done.id, TESTER)


async def test_an_idempotency_key_leads_to_the_same_job_within_one_caller(database: Database) -> None:
    first = await enqueue(database, idempotency_key="k")
    assert (await enqueue(database, idempotency_key="k")).id == first.id
    assert (await enqueue(database, idempotency_key="k", caller="other")).id != first.id
    with pytest.raises(IdempotencyKeyReused):
        await enqueue(database, idempotency_key="k", fingerprint="another request")


NEW = NewJob(id=UUID(int=1), caller="test", fingerprint="f", options=Options(model="base"), priority=5, source="upload")


async def test_a_full_queue_refuses_new_jobs_but_finds_repeated_ones(database: Database) -> None:
    first = await enqueue(database, idempotency_key="k")
    async with database.transaction() as session:
        again = replace(NEW, id=uuid7(), idempotency_key="k")
        job, is_new = await changing.enqueue(session, again, QueueLimit(1))
        assert (job.id, is_new) == (first.id, False)
    async with database.transaction() as session:
        with pytest.raises(QueueFull):
            await changing.enqueue(session, NEW, QueueLimit(1))


async def test_a_refusal_computes_retry_after_from_the_jobs_that_ended_lately(database: Database) -> None:
    for _ in range(20):
        await enqueue(database)
    for job in await claim(database, 20):
        await finish(database, job, SUCCESS)
    await enqueue(database)
    async with database.transaction() as session:
        with pytest.raises(QueueFull) as refusal:
            await changing.require_queue_place(session, "test", QueueLimit(1))
        assert refusal.value.retry_after == 5
        long_ago = update(Transcription).values(completed_at=col(Transcription.completed_at) - timedelta(minutes=6))
        await session.exec(long_ago)
        with pytest.raises(QueueFull) as refusal:
            await changing.require_queue_place(session, "test", QueueLimit(1))
        assert refusal.value.retry_after == 600


async def test_the_queue_is_untended_if_jobs_are_overdue_and_none_is_running(database: Database) -> None:
    async def is_untended() -> bool:
        async with database.transaction() as session:
            return await queue.is_untended(session)

    await enqueue(database)
    assert not await is_untended()
    await execute(database, "UPDATE transcription SET run_at = now() - interval '2 minutes'")
    assert await is_untended()
    async with database.transaction() as session:
        assert not await queue.is_untended(session, ["base"])  # it waits for its model
    [job] = await claim(database)
    assert not await is_untended()
    await finish(database, job, Cancelled())
    assert not await is_untended()
