"""Tenants share what a service has, however many keys they have. Within a tenant, its keys do."""

from collections import Counter
from contextlib import ExitStack
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlmodel import text

from app.access import keys
from app.access.callers import USUAL_SCOPES, Scope, tenant_of
from app.access.keys import NewKey
from app.access.neighbours import Neighbours
from app.database.connections import Database
from app.database.notifications import Signals
from app.jobs.changes.queue_limit import QueueLimit
from app.jobs.claims import queue
from app.jobs.claims.capacity import (
    FETCHES,
    SLOTS,
    Capacity,
    Held,
    Pauses,
    free_fetches,
    free_slots,
    share_of_one,
    without,
)
from app.jobs.reads.waiting import Waiting
from app.process.shares import Shares
from testing.rows import SUCCESS, claim, enqueue, execute, fill, finish


def of_tenants(slots: int) -> Capacity:
    """The capacity of a worker of several tenants, none of which has its share."""
    return Capacity(slots, each_tenant=slots)


MANY = [f"many:{number}" for number in range(20)]
TWO = Shares({"many": 20, "one": 1})


async def test_a_tenant_with_many_keys_gets_no_more_than_one_with_a_single_key(database: Database) -> None:
    for caller in MANY:
        await enqueue(database, caller=caller)
    for _ in range(20):
        await enqueue(database, caller="one:key")
    tenants = []
    for _ in range(8):
        [job] = await claim(database, of_tenants(1))
        tenants.append(tenant_of(job.caller))
        await finish(database, job, SUCCESS)
    assert tenants == ["many", "one"] * 4  # although each time a key of the first is due that was never served
    assert Counter(tenant_of(job.caller) for job in await claim(database, of_tenants(10))) == {"many": 5, "one": 5}


async def test_within_a_tenant_its_keys_share(database: Database) -> None:
    for caller in ["a:greedy"] * 10 + ["a:modest", "b:other", "b:other", "b:other"]:
        await enqueue(database, caller=caller)
    assert Counter(job.caller for job in await claim(database, of_tenants(6))) == {
        "b:other": 3,
        "a:greedy": 2,
        "a:modest": 1,
    }


async def test_a_tenant_that_runs_less_is_next_whichever_of_its_keys_asks(database: Database) -> None:
    for caller in MANY[:4]:
        await enqueue(database, caller=caller)
    await claim(database, of_tenants(4))
    await enqueue(database, caller=MANY[5])
    await enqueue(database, caller="one:key")
    assert [job.caller for _ in range(2) for job in await claim(database, of_tenants(1))] == ["one:key", MANY[5]]


async def test_priority_goes_before_fairness_between_tenants(database: Database) -> None:
    for caller in MANY[:3]:
        await enqueue(database, caller=caller, priority=0)
    await enqueue(database, caller="one:key")
    assert {tenant_of(job.caller) for job in await claim(database, of_tenants(3))} == {"many"}


async def test_a_claim_finds_what_it_may_take_behind_tenants_that_may_take_nothing(database: Database) -> None:
    for number in range(30):
        await enqueue(database, caller=f"full-{number}:key")
        await enqueue(database, caller=f"later-{number}:key")
    await execute(database, "UPDATE transcription SET run_at = now() + interval '1 h' WHERE tenant LIKE 'later%'")
    free = await enqueue(database, caller="z:key", priority=9)
    capacity = Capacity(2, of_tenant={f"full-{number}": 0 for number in range(30)}, each_tenant=2)
    assert [job.id for job in await claim(database, capacity)] == [free.id]


async def test_a_tenant_gets_no_more_places_than_the_room_gives_it(database: Database) -> None:
    for caller in [*MANY, "one:key", "one:key", "one:key", "one:key"]:
        await enqueue(database, caller=caller)
    capacity = Capacity(9, 2, each_tenant=3, of_tenant={"many": 1}, undivided=["one"])
    assert Counter(tenant_of(job.caller) for job in await claim(database, capacity)) == {"many": 1, "one": 3}


async def test_many_tenants_and_keys_cost_a_claim_little(database: Database) -> None:
    await fill(database, 20_000, callers=20)
    await execute(
        database,
        "UPDATE transcription SET tenant = t, caller = t || chr(58) || caller"
        " FROM (SELECT id AS i, 'tenant-' || row_number() OVER () % 50 AS t FROM transcription) AS given WHERE i = id",
    )
    await execute(database, "ANALYZE transcription")
    scanned = text("SELECT seq_scan, idx_scan FROM pg_stat_xact_user_tables WHERE relname = 'transcription'")
    async with database.transaction() as session:
        assert len(await queue.claim(session, "worker", of_tenants(1))) == 1
        [(scans, look_ups)] = (await session.exec(scanned)).all()  # type: ignore[call-overload]
    assert scans == 0
    assert look_ups < 1200  # 3,000 pairs of a key and a priority wait


@pytest.mark.parametrize(
    ("shares", "held", "of_tenant", "of_caller"),
    [
        (Shares({"many": 20}), ["many:a"] * 16, {}, {"many:a": 0}),
        (TWO, ["many:a"] * 11, {"many": 5}, {"many:a": 1}),
        (TWO, MANY[:16], {"many": 0}, dict.fromkeys(MANY[:16], 11)),
        (TWO, ["one:key"] * 15, {"one": 1}, {"one:key": 1}),
    ],
)
def test_one_tenant_leaves_the_last_quarter_to_others(
    shares: Shares, held: list[str], of_tenant: dict[str, int], of_caller: dict[str, int]
) -> None:
    assert SLOTS == 21
    capacity = free_slots([Held(caller, came_with_recording=True) for caller in held], Pauses(), 0.0, shares)
    assert (capacity.of_tenant, capacity.of_caller) == (of_tenant, of_caller)


def test_one_tenant_leaves_the_last_quarter_of_the_fetches_to_others() -> None:
    held = [Held(caller, came_with_recording=False, fetching="pbx") for caller in MANY[: share_of_one(FETCHES)]]
    capacity = free_fetches(held, Pauses(), 0.0, TWO)
    assert (capacity.places, capacity.of_tenant, capacity.undivided) == (2, {"many": 0}, ["one"])
    assert without(capacity, "one:key", "pbx").of_tenant == {"many": 0, "one": share_of_one(FETCHES) - 1}


@given(
    pending=st.integers(200, 2000),
    tenants=st.lists(st.integers(1, 5), min_size=2, max_size=5),
    order=st.randoms(use_true_random=False),
)
def test_each_tenant_can_use_its_reserve_even_if_the_others_fill_the_queue(
    pending: int, tenants: list[int], order: object
) -> None:
    held: Counter[tuple[int, int]] = Counter()

    def add(tenant: int, key: int) -> bool:
        limit = QueueLimit(pending, tenants[tenant], len(tenants))
        of_tenant = sum(count for (one, _), count in held.items() if one == tenant)
        admitted = limit.admits(held.total(), held[tenant, key], of_tenant)
        held[tenant, key] += admitted
        return admitted

    others = [(tenant, key) for tenant in range(1, len(tenants)) for key in range(tenants[tenant])]
    order.shuffle(others)  # type: ignore[attr-defined]
    for each in others:
        while add(*each):
            pass
    while sum(add(0, key) for key in range(tenants[0])):
        pass
    reserve = QueueLimit(pending, tenants[0], len(tenants))
    assert sum(held[0, key] for key in range(tenants[0])) >= reserve.open_to_tenant
    assert held.total() <= pending


async def test_the_places_to_wait_are_shared_by_tenants(database: Database) -> None:
    places = Waiting(database, Signals(database), most=120, most_of_a_caller=80, shares=TWO)
    with ExitStack() as stack:
        for number in range(80):
            assert stack.enter_context(places.join(uuid4(), MANY[number % 20])) is not None
        assert [places.has_room(caller) for caller in (*MANY, "one:key")] == [False] * 20 + [True]


async def test_the_neighbours_are_the_keys_that_can_add_jobs(database: Database) -> None:
    neighbours = Neighbours({"crm", "desk"}, ["folder"])
    async with database.transaction() as session:
        await neighbours.load(session)
        assert neighbours.shares.callers == {"default": 3}
        for name, scopes in (("a", USUAL_SCOPES), ("b", {Scope.LIVE}), ("reader", {Scope.READ})):
            await keys.create(session, NewKey(name=name, tenant="acme", scopes=scopes, created_by="test"))
        await neighbours.load(session)
    assert neighbours.shares.callers == {"default": 3, "acme": 2}


async def test_the_default_tenant_counts_if_it_has_had_a_job(database: Database) -> None:
    """A worker does not know the keys of the settings of other processes."""
    neighbours = Neighbours()
    async with database.transaction() as session:
        await neighbours.load(session)
        assert neighbours.shares.callers == {"default": 1}
        await keys.create(session, NewKey(name="a", tenant="acme", scopes=USUAL_SCOPES, created_by="test"))
        await neighbours.load(session)
        assert neighbours.shares.callers == {"acme": 1}
    await enqueue(database, caller="crm")
    await claim(database)
    async with database.transaction() as session:
        await neighbours.load(session)
    assert neighbours.shares.callers == {"acme": 1, "default": 1}
