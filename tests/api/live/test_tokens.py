"""`POST /v1/live/tokens`, what ends a token, and who else opens a live call."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import select
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from app.access import keys
from app.access.callers import Limits, Scope
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


@pytest.mark.parametrize("seconds", [9, 86_401, 60.5, "soon", None])
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


async def events_of(
    served: Listening, query: str = "", name: str = "127.0.0.1", **arguments: Any
) -> tuple[list[dict[str, Any]], int | None]:
    """What a client gets that begins a call, sends no sound and ends it; and the code that closes the connection."""
    url, frames = f"ws://{name}:{served.port}/v1/live{query}", list[str | bytes]()
    async with connect(url, host="127.0.0.1", port=served.port, proxy=None, **arguments) as websocket:
        with suppress(ConnectionClosed):
            await websocket.send('{"type": "start"}')
            await websocket.send('{"type": "stop"}')
        with suppress(ConnectionClosed):
            while True:
                frames.append(await websocket.recv())
    return [json.loads(frame) for frame in frames], websocket.close_code


async def test_a_call_is_opened_with_a_token_or_with_its_key(served: Listening, key: str) -> None:
    token = await token_of(served, key)
    ways: list[tuple[str, dict[str, Any]]] = [
        (f"?token={token}", {}),
        ("", {"additional_headers": bearer(token)}),
        ("", {"additional_headers": bearer(key)}),
        ("", {"subprotocols": ["realtime", f"openai-insecure-api-key.{key}"]}),
    ]
    for query, arguments in ways:
        told, code = await events_of(served, query, **arguments)
        assert [event["type"] for event in told] == ["started", "stopped"], told
        assert code == 1000


async def test_who_is_not_let_in_learns_why(served: Listening, database: Database, key: str) -> None:
    expired = await token_of(served, key)
    await execute(database, "UPDATE live_token SET expires_at = now()")
    reader = await made(database, "reader", "acme", scopes=[Scope.READ])
    await served.service.api_keys.load(database)
    wrong = dict.fromkeys((expired, "clt_x", "x"), "unauthorized") | {reader: "forbidden"}
    for token, expected in wrong.items():
        [told], code = await events_of(served, f"?token={token}")
        assert (told["type"], told["code"], code) == ("error", expected, 1008)


async def test_a_client_that_gives_no_key_is_closed_in_time(served: Listening) -> None:
    async with asyncio.timeout(10), connect(f"ws://127.0.0.1:{served.port}/v1/live", proxy=None) as websocket:
        assert json.loads(await websocket.recv())["code"] == "unauthorized"
        with pytest.raises(ConnectionClosed):
            await websocket.recv()
        assert websocket.close_code == 1008


async def test_opening_a_call_counts_as_one_request(served: Listening, database: Database) -> None:
    limited = await made(database, "limited", "acme", scopes=[Scope.LIVE], limits=Limits(requests_per_minute=2))
    await served.service.api_keys.load(database)
    for expected in ("started", "started", "error"):
        told, code = await events_of(served, additional_headers=bearer(limited))
        assert told[0]["type"] == expected
    assert (told[0]["code"], code) == ("rate_limited", 1013)


@pytest.mark.parametrize("page", [{"origin": "https://evil.example"}, {"name": "evil.example"}], ids=str)
async def test_without_keys_pages_of_other_sites_are_refused(
    database: Database, tmp_path: Path, page: dict[str, Any]
) -> None:
    async with listening(database, tmp_path) as served:
        for query in ("", "?token=clt_x"):
            [refusal], code = await events_of(served, query, **page)
            assert (refusal["code"], code) == ("forbidden", 1008)
        told, code = await events_of(served, origin=f"http://127.0.0.1:{served.port}")
        assert (told[0]["type"], code) == ("started", 1000)
