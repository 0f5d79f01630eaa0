"""Jobs whose clients wait on open connections: repeated requests join them, and abandoned ones are cancelled."""

import asyncio
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from app.database.connections import Database
from app.jobs.changes import awaited, changing, interest
from app.jobs.changes.awaited import Upload
from app.jobs.changes.interest import Interest
from app.jobs.changes.queue_limit import QueueLimit
from app.jobs.models import AwaitedJob, NewJob, Transcription
from app.jobs.upkeep.retention import Retention
from app.storage.folder_store import LocalAudioStore
from app.transcripts.transcript import Options
from testing.job_bench import Clock
from testing.rows import FORGET_AUDIO, SUCCESS, TESTER, claim, date_end, execute, finish, read

HASH = "the same recording and options"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(interest, "time", clock)
    return clock


@pytest.fixture
def retention(database: Database, tmp_path_factory: pytest.TempPathFactory) -> Retention:
    return Retention(database, LocalAudioStore(tmp_path_factory.mktemp("audio")))


async def ask(database: Database, caller: str = TESTER.name, request_hash: str = HASH) -> tuple[Transcription, bool]:
    """Does what an awaited request does after its upload."""
    job_id = uuid7()
    new = NewJob(
        id=job_id,
        audio_key=str(job_id),
        caller=caller,
        fingerprint="f",
        options=Options(model="base"),
        priority=3,
        source="upload",
        bytes=1000,
        sha256="s",
    )
    async with database.transaction() as session:
        return await changing.enqueue_awaited(session, new, request_hash, QueueLimit(100))


async def abandon(database: Database, job_id: UUID) -> None:
    """Does what twenty seconds without a client would do."""
    await execute(
        database,
        "UPDATE awaited_job SET awaited_until = now() - interval '1 s' WHERE transcription_id = :id",
        id=job_id,
    )


async def beat_for(kept: Interest, clock: Clock, seconds: float) -> None:
    """Beats as often as a process does in this time."""
    await kept.beat()
    for _ in range(round(seconds / 5)):
        clock.seconds += 5
        await kept.beat()


async def test_a_repeated_request_joins_the_job_while_it_waits_runs_and_after_it_is_completed(
    database: Database,
) -> None:
    job, is_new = await ask(database)
    assert is_new
    assert (await ask(database))[0].id == job.id
    [claimed] = await claim(database)
    assert (await ask(database))[0].id == job.id
    await finish(database, claimed, SUCCESS)
    assert [(again.id, is_new) for again, is_new in [await ask(database)]] == [(job.id, False)]


async def test_requests_of_other_callers_and_for_other_things_get_jobs_of_their_own(database: Database) -> None:
    jobs = [await ask(database), await ask(database, caller="other"), await ask(database, request_hash="other")]
    assert [is_new for _, is_new in jobs] == [True, True, True]


async def test_equal_requests_at_the_same_moment_share_one_job(database: Database) -> None:
    answers = await asyncio.gather(*(ask(database) for _ in range(5)))
    assert len({job.id for job, _ in answers}) == 1
    assert [is_new for _, is_new in answers].count(True) == 1


async def test_a_job_that_was_cancelled_or_completed_too_long_ago_is_not_joined(database: Database) -> None:
    cancelled, _ = await ask(database)
    async with database.transaction() as session:
        await changing.request_cancel(session, cancelled.id, TESTER, FORGET_AUDIO)
    completed, is_new = await ask(database)
    assert is_new
    [claimed] = await claim(database)
    await finish(database, claimed, SUCCESS)
    await date_end(database, completed.id, days_ago=9 / 24 / 60)
    assert (await ask(database))[0].id == completed.id
    await date_end(database, completed.id, days_ago=11 / 24 / 60)
    assert (await ask(database))[1]


async def test_a_job_that_no_client_waits_for_is_cancelled_with_its_event_and_recording(
    database: Database, retention: Retention, clock: Clock
) -> None:
    waiting, _ = await ask(database)
    running, _ = await ask(database, request_hash="other")
    await execute(database, "UPDATE transcription SET priority = 0 WHERE id = :id", id=running.id)
    await claim(database)
    at_work = Interest(database, retention, FORGET_AUDIO, keep_abandoned=False)
    await beat_for(at_work, clock, 30)
    assert (await read(database, waiting.id)).status == "pending"

    for job in (waiting, running):
        await abandon(database, job.id)
    clock.seconds += 5
    await at_work.beat()
    ended, asked_to_stop = await read(database, waiting.id), await read(database, running.id)
    assert (ended.status, ended.audio_key) == ("cancelled", None)
    assert (asked_to_stop.status, asked_to_stop.cancel_requested) == ("in_progress", True)
    assert ended.error_code == "abandoned"


async def test_a_job_goes_on_while_a_client_waits_for_it(
    database: Database, retention: Retention, clock: Clock
) -> None:
    job, _ = await ask(database)
    at_work = Interest(database, retention, FORGET_AUDIO, keep_abandoned=False)
    with at_work.held(job.id), at_work.held(job.id):
        await beat_for(at_work, clock, 30)
        await abandon(database, job.id)
        clock.seconds += 5
        await at_work.beat()
    assert (await read(database, job.id)).status == "pending"
    await abandon(database, job.id)
    clock.seconds += 5
    await at_work.beat()
    assert (await read(database, job.id)).status == "cancelled"


async def test_after_a_start_and_after_the_database_was_away_clients_get_time_to_come_back(
    database: Database, retention: Retention, clock: Clock
) -> None:
    job, _ = await ask(database)
    await abandon(database, job.id)
    at_work = Interest(database, retention, FORGET_AUDIO, keep_abandoned=False)
    await beat_for(at_work, clock, 15)
    clock.seconds += 60
    await beat_for(at_work, clock, 15)
    assert (await read(database, job.id)).status == "pending"
    clock.seconds += 5
    await at_work.beat()
    assert (await read(database, job.id)).status == "cancelled"


async def test_an_operator_can_keep_abandoned_jobs(database: Database, retention: Retention, clock: Clock) -> None:
    job, _ = await ask(database)
    await abandon(database, job.id)
    await beat_for(Interest(database, retention, FORGET_AUDIO, keep_abandoned=True), clock, 60)
    assert (await read(database, job.id)).status == "pending"


async def test_a_client_that_comes_back_just_before_the_cancellation_keeps_its_job(database: Database) -> None:
    job, _ = await ask(database)
    await abandon(database, job.id)
    assert (await ask(database))[0].id == job.id
    async with database.transaction() as session:
        assert not await awaited.give_up(session, job.id)


async def test_rows_are_forgotten_ten_minutes_after_the_end(
    database: Database, retention: Retention, clock: Clock
) -> None:
    old, _ = await ask(database)
    [claimed] = await claim(database)
    await finish(database, claimed, SUCCESS)
    await date_end(database, old.id, days_ago=1)
    young, _ = await ask(database, request_hash="other")
    await execute(database, "UPDATE awaited_job SET awaited_until = now() - interval '11 min'")
    await Interest(database, retention, FORGET_AUDIO, keep_abandoned=False).beat()
    async with database.transaction() as session:
        assert await session.get(AwaitedJob, old.id) is None
        assert await session.get(AwaitedJob, young.id) is not None


OF_THIS_SIZE = Upload(TESTER.name, 900, 1300)
OTHERS = (Upload(TESTER.name, 1001, 1300), Upload("other", 900, 1300))


async def test_a_request_may_repeat_a_job_of_the_same_caller_and_size(database: Database) -> None:
    await ask(database)
    async with database.transaction() as session:
        assert await awaited.may_be_repeated(session, OF_THIS_SIZE)
        assert [await awaited.may_be_repeated(session, other) for other in OTHERS] == [False, False]


async def test_a_job_waits_while_a_request_arrives_that_may_repeat_it(
    database: Database, retention: Retention, clock: Clock
) -> None:
    job, _ = await ask(database)
    at_work = Interest(database, retention, FORGET_AUDIO, keep_abandoned=False)
    await beat_for(at_work, clock, 30)
    async with at_work.during(OF_THIS_SIZE):
        await abandon(database, job.id)
        async with database.transaction() as session:
            assert not await awaited.give_up(session, job.id)  # which holds before the next beat
        await execute(database, "UPDATE awaited_job SET kept_until = now() - interval '1 s'")
        clock.seconds += 5
        await at_work.beat()
    assert (await read(database, job.id)).status == "pending"

    await execute(database, "UPDATE awaited_job SET kept_until = now() - interval '1 s'")
    async with at_work.during(OF_THIS_SIZE):  # a request that comes too late for this job keeps it no longer
        clock.seconds += 5
        await at_work.beat()
    ended = await read(database, job.id)
    assert (ended.status, ended.error_code) == ("cancelled", "abandoned")


async def test_a_job_does_not_wait_for_requests_of_others_or_of_another_size(
    database: Database, retention: Retention, clock: Clock
) -> None:
    job, _ = await ask(database)
    at_work = Interest(database, retention, FORGET_AUDIO, keep_abandoned=False)
    await beat_for(at_work, clock, 30)
    async with at_work.during(OTHERS[0]), at_work.during(OTHERS[1]):
        await abandon(database, job.id)
        clock.seconds += 5
        await at_work.beat()
    assert (await read(database, job.id)).status == "cancelled"
