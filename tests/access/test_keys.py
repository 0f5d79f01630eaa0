"""Keys of the database: how they are made, found, refused and revoked."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlmodel.ext.asyncio.session import AsyncSession

from app.access import keys
from app.access.callers import ANONYMOUS, OWNER, Caller, Limits, Scope, tenant_of
from app.access.keys import NewKey
from app.access.models import ApiKey, Tenant
from app.access.neighbours import Neighbours
from app.access.registry import ApiKeys
from app.database.connections import Database
from app.database.notifications import Signals
from app.errors import InvalidRequest, Unauthorized
from testing.rows import execute
from testing.waiting import soon

USUAL: Sequence[Scope] = (Scope.TRANSCRIBE, Scope.READ)


async def made(database: Database, name: str, tenant: str = "default", **asked: Any) -> str:
    """Makes a key and returns it."""
    return (await row_and_key(database, name, tenant, **asked))[1]


async def row_and_key(
    database: Database, name: str, tenant: str = "default", *, scopes: Sequence[Scope] = USUAL, **asked: Any
) -> tuple[ApiKey, str]:
    async with database.transaction() as session:
        return await keys.create(session, NewKey(name=name, tenant=tenant, scopes=scopes, created_by="test", **asked))


async def loaded(database: Database, configured: dict[str, list[str]] | None = None, **how: Any) -> ApiKeys:
    found = ApiKeys({} if configured is None else configured, **how)
    await found.load(database)
    return found


async def test_a_key_names_its_caller_with_tenant_scopes_and_limits(database: Database) -> None:
    key = await made(database, "crm", "acme", most_urgent=3, limits=Limits(60, 100, 8.5))
    caller = (await loaded(database)).identify(key)
    assert (caller.name, caller.tenant, caller.label) == ("crm", "acme", "acme:crm")
    assert (caller.scopes, caller.most_urgent, caller.limits) == (frozenset(USUAL), 3, Limits(60, 100, 8.5))


async def test_the_database_keeps_no_key(database: Database) -> None:
    row, key = await row_and_key(database, "crm")
    assert len(key) >= 4 + 43
    assert (row.hash, row.hint) == (keys.hash_of(key), key[:10])
    async with database.transaction() as session:
        stored = (await keys.listed(session))[0].model_dump()
    assert key not in str(stored)


async def test_a_new_key_works_at_once_in_every_process(database: Database) -> None:
    elsewhere = ApiKeys({})
    key = await made(database, "crm")
    assert (await elsewhere.find(key, database)).name == "crm"


async def test_strangers_cost_one_query_a_second(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    guarded = await loaded(database, is_exposed=True)
    loads = 0

    async def counting(_: Database) -> None:
        nonlocal loads
        loads += 1

    monkeypatch.setattr(guarded, "load", counting)
    guesses = [guarded.find(f"guess-{number}", database) for number in range(50)]
    refusals = await asyncio.gather(*guesses, return_exceptions=True)
    assert {type(refusal) for refusal in refusals} == {Unauthorized}
    assert loads == 0  # the keys were read less than a second ago


async def test_a_revoked_key_is_refused_within_moments(database: Database) -> None:
    row, key = await row_and_key(database, "crm")
    guarded, signals = await loaded(database, {"other": ["key"]}), Signals(database)
    running = [asyncio.create_task(signals.run()), asyncio.create_task(guarded.run(database, signals))]
    assert guarded.identify(key).name == "crm"
    async with database.transaction() as session:
        await keys.revoke(session, row.id, "test")
    await soon(lambda: guarded.label_of(key) is None)
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)


async def test_an_old_answer_of_the_database_does_not_bring_a_revoked_key_back(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first reading of the keys is slow, and ends after the second one would."""
    row, key = await row_and_key(database, "crm")
    guarded, has_read, may_go_on = await loaded(database, {"other": ["key"]}), asyncio.Event(), asyncio.Event()
    read = keys.tenants

    async def slowly(session: AsyncSession) -> Sequence[Tenant]:
        has_read.set()
        await may_go_on.wait()
        return await read(session)

    monkeypatch.setattr(keys, "tenants", slowly)
    slow = asyncio.create_task(guarded.load(database))
    await has_read.wait()
    monkeypatch.setattr(keys, "tenants", read)
    async with database.transaction() as session:
        await keys.revoke(session, row.id, by="test")
    fast = asyncio.create_task(guarded.load(database))
    await asyncio.wait({fast}, timeout=0.2)
    may_go_on.set()
    await asyncio.gather(slow, fast)
    assert guarded.label_of(key) is None


async def test_an_expired_key_is_refused_and_says_why(database: Database) -> None:
    key = await made(database, "crm", expires_at=datetime.now(UTC) + timedelta(hours=1))
    await execute(database, "UPDATE api_key SET expires_at = now() - interval '1 s'")
    with pytest.raises(Unauthorized, match="expired"):
        (await loaded(database)).identify(key)


async def test_keys_of_the_setting_go_on_working_and_only_admin_may_manage(database: Database) -> None:
    guarded = await loaded(database, {"crm": ["one"], "admin": ["two"]}, ceilings={"crm": 4})
    crm, admin = guarded.identify("one"), guarded.identify("two")
    assert (crm.tenant, crm.label, crm.most_urgent, Scope.ADMIN in crm.scopes) == ("default", "crm", 4, False)
    assert Scope.ADMIN in admin.scopes


async def test_on_this_machine_everybody_is_the_owner_until_there_is_a_key(database: Database) -> None:
    assert (await loaded(database)).identify(None) == OWNER
    row, _ = await row_and_key(database, "crm")
    with pytest.raises(Unauthorized):
        (await loaded(database)).identify(None)
    async with database.transaction() as session:
        await keys.revoke(session, row.id, "test")
    assert (await loaded(database)).identify(None) == OWNER
    with pytest.raises(Unauthorized):  # a service that other machines reach never opens itself
        (await loaded(database, is_exposed=True)).identify(None)


async def test_without_authentication_nobody_is_an_admin() -> None:
    assert ApiKeys(None).identify("any") == ANONYMOUS
    assert Scope.ADMIN not in ANONYMOUS.scopes


async def test_keys_are_known_while_the_database_is_away(database: Database) -> None:
    key = await made(database, "crm")
    guarded = await loaded(database)
    away = Database("postgresql://postgres@127.0.0.1:9/nothing")
    assert (await guarded.find(key, away)).name == "crm"
    with pytest.raises(Unauthorized):
        await guarded.find("guess", away)
    await away.close()


async def test_a_second_key_of_a_name_is_the_same_caller_with_the_same_limits(database: Database) -> None:
    first = await made(database, "crm", limits=Limits(requests_per_minute=5))
    second = await made(database, "crm")
    guarded = await loaded(database)
    assert guarded.identify(first).label == guarded.identify(second).label
    assert guarded.identify(second).limits == Limits(requests_per_minute=5)
    neighbours = Neighbours()
    async with database.transaction() as session:
        await neighbours.load(session)
    assert neighbours.shares.callers == {"default": 1}


async def test_the_use_of_a_key_is_noted(database: Database) -> None:
    used, _ = await made(database, "crm"), await made(database, "idle")
    guarded = await loaded(database)
    guarded.identify(used)
    await guarded.note_use(database)
    async with database.transaction() as session:
        assert {row.name: row.last_used_at is not None for row in await keys.listed(session)} == {
            "crm": True,
            "idle": False,
        }


@pytest.mark.parametrize(
    ("name", "tenant"), [("", "acme"), ("a:b", "acme"), ("crm", "a:b"), ("crm", "a/b"), ("-x", "acme"), ("crm", "é")]
)
async def test_names_that_could_be_mistaken_are_refused(database: Database, name: str, tenant: str) -> None:
    with pytest.raises(InvalidRequest):
        await made(database, name, tenant)


@pytest.mark.parametrize("name", ["folder", "stream", "anonymous"])
async def test_a_key_may_not_have_the_name_of_a_part_of_the_service(database: Database, name: str) -> None:
    with pytest.raises(InvalidRequest):
        await made(database, name)


@pytest.mark.parametrize("caller", [Caller("crm"), Caller("crm", "acme"), Caller("a/b")])
def test_a_label_says_the_name_and_the_tenant(caller: Caller) -> None:
    again = Caller.of_label(caller.label)
    assert (again.name, again.tenant, tenant_of(caller.label)) == (caller.name, caller.tenant, caller.tenant)
