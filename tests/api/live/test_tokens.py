"""`POST /v1/live/tokens`, and what ends a token."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlmodel import select

from app.access import keys
from app.access.callers import Scope
from app.access.registry import ApiKeys
from app.database.connections import Database
from app.jobs.upkeep.retention import Retention
from app.live import tokens
from app.live.models import LiveToken
from testing.forms import refused
from testing.listening import Listening, listening
from testing.rows import execute
from tests.access.test_keys import made


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


@pytest.fixture
async def key(database: Database) -> str:
    return await made(database, "crm", "acme", scopes=[Scope.LIVE])


@pytest.fixture
async def served(database: Database, key: str, tmp_path: Path) -> AsyncIterator[Listening]:
    async with listening(database, tmp_path) as served:
        yield served


async def token_of(served: Listening, key: str, **asked: int) -> str:
    answer = await served.client.post("/v1/live/tokens", json=asked, headers=bearer(key))
    assert answer.status_code == 201, answer.text
    return str(answer.json()["token"])


async def label_of(database: Database, token: str, known: ApiKeys) -> str | None:
    async with database.transaction() as session:
        caller = await tokens.caller_of(session, token, known)
    assert caller is None or caller.scopes == {Scope.LIVE}
    return None if caller is None else caller.label


async def test_a_token_names_the_caller_of_its_key_for_live_calls_only(
    served: Listening, database: Database, key: str
) -> None:
    everything = await made(database, "boss", "acme", scopes=list(Scope))
    await served.service.api_keys.load(database)
    for each, label in ((key, "acme:crm"), (everything, "acme:boss")):
        token = await token_of(served, each)
        assert token.startswith(tokens.PREFIX)
        assert await label_of(database, token, served.service.api_keys) == label
        refused(await served.client.get("/v1/keys/current", headers=bearer(token)), 401, "unauthorized")


@pytest.mark.parametrize("body", ["", "{}", '{"expires_in": 300}'])
async def test_a_token_lives_for_five_minutes_unless_more_is_asked_for(served: Listening, key: str, body: str) -> None:
    headers = bearer(key) | ({"Content-Type": "application/json"} if "expires" in body else {})
    answer = await served.client.post("/v1/live/tokens", content=body, headers=headers)
    assert answer.status_code == 201, answer.text
    rest = datetime.fromisoformat(answer.json()["expires_at"]) - datetime.now(UTC)
    assert timedelta(minutes=4) < rest <= timedelta(minutes=5, seconds=1)


@pytest.mark.parametrize("seconds", [9, 86_401, 60.5, "60", None])
async def test_other_times_are_refused(served: Listening, key: str, seconds: object) -> None:
    asked = {"expires_in": seconds}
    refused(await served.client.post("/v1/live/tokens", json=asked, headers=bearer(key)), 422, "invalid_request")


async def test_a_key_without_the_scope_makes_no_tokens(served: Listening, database: Database) -> None:
    reader = await made(database, "reader", "acme", scopes=[Scope.READ])
    await served.service.api_keys.load(database)
    refused(await served.client.post("/v1/live/tokens", headers=bearer(reader)), 403, "forbidden")


async def test_a_token_ends_with_its_key(served: Listening, database: Database, key: str) -> None:
    second = await made(database, "crm", "acme", scopes=[Scope.LIVE])
    known = served.service.api_keys
    await known.load(database)
    of_first, of_second = await token_of(served, key), await token_of(served, second)
    async with database.transaction() as session:
        [first] = [row for row in await keys.listed(session) if row.hash == keys.hash_of(key)]
        await keys.revoke(session, first.id, "admin")
    await known.load(database)
    assert await label_of(database, of_first, known) is None
    assert await label_of(database, of_second, known) == "acme:crm"


async def test_a_token_of_a_setting_ends_with_its_key(database: Database) -> None:
    before, after = ApiKeys({"alice": ["old"]}), ApiKeys({"alice": ["new"]})
    async with database.transaction() as session:
        token, _ = await tokens.create(session, before.identify("old"), "old", 60)
    assert await label_of(database, token, before) == "alice"
    assert await label_of(database, token, after) is None


async def test_expired_tokens_are_refused_and_erased(served: Listening, database: Database, key: str) -> None:
    expired, valid = await token_of(served, key, expires_in=10), await token_of(served, key, expires_in=86_400)
    await execute(database, "UPDATE live_token SET expires_at = now() WHERE expires_at < now() + interval '1 hour'")
    known = served.service.api_keys
    assert await label_of(database, expired, known) is None
    await Retention(database, served.service.parts.store, others=[tokens.erase_expired]).sweep()
    async with database.transaction() as session:
        assert [row.hash for row in await session.exec(select(LiveToken))] == [keys.hash_of(valid)]
    assert await label_of(database, valid, known) == "acme:crm"
