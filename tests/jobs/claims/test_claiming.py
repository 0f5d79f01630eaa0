"""Whose job is claimed next, on a real database."""

import asyncio
from collections import Counter

import pytest
from sqlmodel import text

from app.database.connections import Database
from app.jobs.claims import queue
from app.jobs.claims.capacity import SLOTS, Capacity, share_of_one
from app.jobs.lifecycle import MAX_CRASHES, Crashed, Failed, Interrupted, Outcome, Status
from testing.rows import SUCCESS, claim, enqueue, execute, fill, finish, read, take_back_lost


async def test_keys_share_the_slots_even_if_one_of_them_has_many_more_jobs(database: Database) -> None:
    for _ in range(10):
        await enqueue(database, caller="greedy")
    await enqueue(database, caller="modest")
    await enqueue(database, caller="late")
    assert Counter(job.caller for job in await claim(database, 4)) == {"greedy": 2, "modest": 1, "late": 1}


async def test_the_key_with_the_fewest_running_jobs_is_next(database: Database) -> None:
    for _ in range(4):
        await enqueue(database, caller="greedy")
    await claim(database, 2)
    for _ in range(3):
        await enqueue(database, caller="modest")
    callers = [job.caller for _ in range(5) for job in await claim(database)]
    assert callers == ["modest", "modest", "greedy", "modest", "greedy"]


async def test_keys_without_running_jobs_alternate(database: Database) -> None:
    for caller in "aaabbbc":
        await enqueue(database, caller=caller)
    callers = []
    for _ in range(7):
        [job] = await claim(database)
        callers.append(job.caller)
        await finish(database, job, SUCCESS)
    assert callers == ["a", "b", "c", "a", "b", "a", "b"]


async def test_priority_goes_before_fairness(database: Database) -> None:
    for priority in (0, 0, 0):
        await enqueue(database, caller="urgent", priority=priority)
    await enqueue(database, caller="other")
    assert {job.caller for job in await claim(database, 3)} == {"urgent"}


async def test_all_claimers_find_jobs_while_one_holds_the_first(database: Database) -> None:
    for _ in range(6):
        await enqueue(database)
    async with database.transaction() as session:
        held = await queue.claim(session, "slow", Capacity(2))
        found = await asyncio.wait_for(claim(database, 4), 10)
    assert len({job.id for job in [*held, *found]}) == 6


async def test_a_long_queue_is_claimed_from_without_reading_all_of_it(database: Database) -> None:
    """Each pair of 20 keys and 3 priorities needs two look-ups, and each key one more for its last claim."""
    await fill(database, 20_000, callers=20)
    async with database.transaction() as session:
        for slots in (1, 16):
            assert len(await queue.claim(session, "worker", Capacity(slots))) == slots
        scanned = text("""
            SELECT seq_scan, idx_scan, idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relname = 'transcription'
        """)
        [(scans, look_ups, fetched)] = (await session.exec(scanned)).all()  # type: ignore[call-overload]
    assert scans == 0
    assert look_ups < 2 * (60 + 60 + 20) + 2 * 17 * 2
    assert fetched < 10_000


async def test_uploads_are_found_behind_a_long_queue_of_jobs_to_fetch(database: Database) -> None:
    upload = await enqueue(database, caller="key-1", priority=9)
    await fill(database, 20_000, callers=20, stored=False)
    scanned = text("SELECT seq_scan, idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relname = 'transcription'")
    async with database.transaction() as session:
        assert [job.id for job in await queue.claim(session, "worker", Capacity(16))] == [upload.id]
        assert [job.audio_key for job in await queue.claim(session, "worker", Capacity(16), Capacity(3))] == [None] * 3
        [(scans, fetched)] = (await session.exec(scanned)).all()  # type: ignore[call-overload]
    assert scans == 0
    assert fetched < 10_000


async def test_a_job_on_its_last_chance_is_fetched_only_if_a_fetch_is_free(database: Database) -> None:
    for key in (None, None, "stored", "stored"):
        await enqueue(database, audio_key=key)
    await execute(database, "UPDATE transcription SET crashes = :crashes", crashes=MAX_CRASHES - 1)
    assert [job.audio_key for job in await claim(database, 2)] == ["stored"]
    assert [job.audio_key for job in await claim(database, 2, fetches=2)] == ["stored"]
    assert [job.audio_key for job in await claim(database, 2, fetches=2)] == [None]


async def test_concurrent_claimers_take_each_job_once_and_leave_none(database: Database) -> None:
    await fill(database, 400, callers=3)

    async def take(worker: str) -> list[str]:
        taken: list[str] = []
        while jobs := await claim(database, 7, worker):
            taken += [str(job.id) for job in jobs]
        return taken

    taken = [job for one in await asyncio.gather(*(take(f"worker-{n}") for n in range(8))) for job in one]
    assert len(taken) == len(set(taken)) == 400


async def test_a_worker_runs_one_job_on_its_last_chance_beside_others(database: Database) -> None:
    suspects = {(await enqueue(database)).id for _ in range(3)}
    await execute(database, "UPDATE transcription SET crashes = :crashes", crashes=MAX_CRASHES - 1)
    fresh = {(await enqueue(database)).id for _ in range(2)}
    first = {job.id for job in await claim(database, 5)}
    assert len(first & suspects) == 1
    assert first >= fresh
    assert await claim(database, 5, last_chance=False) == []
    assert len(await claim(database, 5, "other worker")) == 1


@pytest.mark.parametrize("crashes", range(MAX_CRASHES))
async def test_a_crash_that_the_worker_records_counts_like_a_lost_lease(database: Database, crashes: int) -> None:
    await enqueue(database)
    await execute(database, "UPDATE transcription SET crashes = :crashes", crashes=crashes)
    [job] = await claim(database)
    last = crashes + 1 == MAX_CRASHES
    assert await finish(database, job, Crashed()) is (Status.FAILED if last else Status.PENDING)
    row = await read(database, job.id)
    assert (row.crashes, row.attempts, row.error_code) == (crashes + 1, 1, "worker_crashed" if last else None)


@pytest.mark.parametrize("outcome", [None, Crashed(), Interrupted()])
async def test_a_job_that_was_begun_goes_before_newer_jobs_of_its_priority_and_key(
    database: Database, outcome: Outcome | None
) -> None:
    """A lost lease, a recorded crash or a deploy ended its attempt. No newer job may delay its next one."""
    await enqueue(database, caller="other")
    begun = await enqueue(database)
    newcomers = [(await enqueue(database)).id for _ in range(3)]
    [_, leased] = await claim(database, 2)
    assert leased.id == begun.id
    if outcome is None:
        await execute(database, "UPDATE transcription SET lease_until = now() - interval '1 s' WHERE caller = 'test'")
        await take_back_lost(database)
    else:
        await finish(database, leased, outcome)
    assert [job.id for _ in range(4) for job in await claim(database)] == [begun.id, *newcomers]


async def test_jobs_on_their_last_chance_do_not_starve_under_a_steady_load(database: Database) -> None:
    """A worker that runs none of them claims one, even if more urgent jobs keep arriving."""
    suspects = [(await enqueue(database, priority=9)).id for _ in range(3)]
    await execute(database, "UPDATE transcription SET crashes = :crashes", crashes=MAX_CRASHES - 1)
    for suspect in suspects:
        for _ in range(3):
            await enqueue(database, caller="steady", priority=0)
        [first] = await claim(database)
        assert first.id == suspect
        await finish(database, first, SUCCESS)


async def test_a_job_that_waits_for_another_try_is_not_claimed(database: Database) -> None:
    await enqueue(database, caller="unlucky")
    [job] = await claim(database)
    await finish(database, job, Failed("transcription_failed", "…", transient=True))
    other = await enqueue(database, caller="unlucky")
    assert [job.id for job in await claim(database, 2)] == [other.id]


async def test_a_key_gets_no_more_places_than_the_room_gives_it(database: Database) -> None:
    for _ in range(10):
        await enqueue(database, caller="greedy")
    capacity = Capacity(6, 4, of_caller={"greedy": 1, "full": 0})
    assert [job.caller for job in await claim(database, capacity)] == ["greedy"]
    for caller in ("full", "modest", "modest"):
        await enqueue(database, caller=caller)
    callers = Counter(job.caller for job in await claim(database, Capacity(6, 4, of_caller={"greedy": 0, "full": 0})))
    assert callers == {"modest": 2}
    assert Counter(job.caller for job in await claim(database, Capacity(6, 4))) == {"greedy": 4, "full": 1}


async def test_the_share_of_a_key_counts_jobs_of_all_priorities(database: Database) -> None:
    for priority in range(6):
        await enqueue(database, caller="greedy", priority=priority)
    assert [job.priority for job in await claim(database, Capacity(9, 4))] == [0, 1, 2, 3]


async def test_a_host_gets_no_more_fetches_than_the_room_gives_it(database: Database) -> None:
    for number in range(20):
        await enqueue(database, audio_key=None, source_host="slow.example", caller=f"key-{number % 2}")
    await enqueue(database, audio_key=None, source_host="quick.example", caller="key-0")
    await enqueue(database, audio_key=None, caller="key-1")
    callers = {"key-0": 9, "key-1": 9}
    capacity = Capacity(9, each_host=3, of_host={"slow.example": 1}, of_caller=callers)
    hosts = Counter(job.source_host for job in await claim(database, 0, fetches=capacity))
    assert hosts == {"slow.example": 1, "quick.example": 1, None: 1}
    capacity = Capacity(9, each_host=3, of_host={"slow.example": 0}, of_caller=callers)
    assert await claim(database, 0, fetches=capacity) == []
    late = await enqueue(database, audio_key=None, source_host="slow.example", caller="late")
    assert [job.id for job in await claim(database, 0, fetches=capacity)] == [late.id]
    assert len(await claim(database, 0, fetches=Capacity(9, each_host=3, of_caller=callers))) == 3


async def test_a_replica_finds_jobs_of_a_key_while_another_replica_claims_some(database: Database) -> None:
    for _ in range(12):
        await enqueue(database, caller="greedy")
    async with database.transaction() as session:
        held = await queue.claim(session, "slow", Capacity(4, 4))
        found = await asyncio.wait_for(claim(database, Capacity(4, 4)), 10)
    assert (len(held), len(found)) == (4, 4)


async def test_the_queue_finds_a_waiting_job_that_is_more_urgent_than_a_running_one_of_another_key(
    database: Database,
) -> None:
    await enqueue(database, caller="greedy", priority=9)
    [running] = await claim(database)
    for caller, priority in (("greedy", 0), ("other", 9)):
        await enqueue(database, caller=caller, priority=priority)
    async with database.transaction() as session:
        assert not await queue.more_urgent_waits(session, running, Capacity(0), to_fetch=False)
    await enqueue(database, caller="other", priority=8, audio_key=None)
    async with database.transaction() as session:
        assert not await queue.more_urgent_waits(session, running, Capacity(0), to_fetch=False)
    await enqueue(database, caller="other", priority=8)
    async with database.transaction() as session:  # the key's own, more urgent job would get the place
        assert not await queue.more_urgent_waits(session, running, Capacity(0), to_fetch=False)
    await execute(database, "DELETE FROM transcription WHERE priority = 0")
    async with database.transaction() as session:
        assert await queue.more_urgent_waits(session, running, Capacity(0), to_fetch=False)
        assert await queue.more_urgent_waits(session, running, Capacity(0, of_caller={"other": 1}), to_fetch=False)
        assert not await queue.more_urgent_waits(session, running, Capacity(0, of_caller={"other": 0}), to_fetch=False)


async def test_a_fetch_makes_way_only_for_a_job_that_would_get_its_place(database: Database) -> None:
    await enqueue(database, caller="slow", audio_key=None, source_host="slow.example")
    [running] = await claim(database, 0, fetches=1)
    await enqueue(database, caller="other", audio_key=None, source_host="slow.example")
    async with database.transaction() as session:
        assert await queue.another_waits_to_fetch(session, running, Capacity(0))
        assert not await queue.another_waits_to_fetch(session, running, Capacity(0, of_caller={"other": 0}))
        full = {"slow.example": 0}
        assert not await queue.another_waits_to_fetch(
            session, running, Capacity(0, of_caller={"other": 1}, of_host=full)
        )
        assert await queue.another_waits_to_fetch(session, running, Capacity(0, of_host=full))


async def test_a_job_on_its_last_chance_counts_for_the_share_of_its_key(database: Database) -> None:
    await fill(database, 25, callers=1)
    await execute(database, "UPDATE transcription SET crashes = 2 WHERE id = (SELECT id FROM transcription LIMIT 1)")
    jobs = await claim(database, Capacity(SLOTS, share_of_one(SLOTS)))
    assert (len(jobs), sum(job.crashes for job in jobs)) == (share_of_one(SLOTS), 2)
