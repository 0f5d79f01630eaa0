"""Limits of keys and tenants: requests a minute, waiting jobs, hours of audio a day."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy import text

from app.access import rates
from app.access.callers import Caller, Limits
from app.database.connections import Database
from testing.forms import refused
from testing.keys import bearer
from testing.listening import Listening, listening
from testing.recordings import tone
from testing.rows import SUCCESS, claim, execute, finish

CLIENTS = 50
Headers = dict[str, str]


@pytest.fixture
async def served(database: Database, tmp_path: Path) -> AsyncIterator[Listening]:
    async with listening(database, tmp_path) as served:
        yield served


async def set_tenant_limits(served: Listening, name: str, **limits: float) -> None:
    database = served.service.database
    columns = ", ".join(f"{column} = :{column}" for column in limits)
    await execute(database, f"UPDATE tenant SET {columns} WHERE name = :name", name=name, **limits)
    await served.service.api_keys.load(database)


async def post(served: Listening, key: Headers, seconds: float = 1) -> httpx.Response:
    files = {"file": ("call.wav", tone(seconds=seconds))}
    return await served.client.post("/v1/transcriptions", files=files, headers=key)


async def end_one(database: Database) -> None:
    [job] = await claim(database)
    await finish(database, job, SUCCESS)


def left_in_minute(answer: httpx.Response) -> str:
    """What is left of a limit, without the seconds until it begins anew."""
    left, _, seconds = answer.headers["RateLimit"].rpartition(";t=")
    assert 0 < int(seconds) <= 60
    return str(left)


async def test_fifty_clients_at_two_servers_get_exactly_as_many_answers_as_the_limit(
    database: Database, tmp_path: Path
) -> None:
    other = Database(database.address)
    async with listening(database, tmp_path / "one") as one, listening(other, tmp_path / "two") as two:
        key = await bearer(one, requests_per_minute=120)
        await two.service.api_keys.load(other)

        async def ask(number: int) -> list[httpx.Response]:
            server = (one, two)[number % 2]
            return [await server.client.get("/v1/models", headers=key) for _ in range(4)]

        answers = [answer for some in await asyncio.gather(*map(ask, range(CLIENTS))) for answer in some]
    await other.close()
    assert Counter(answer.status_code for answer in answers) == {200: 120, 429: 80}
    left = sorted(int(answer.headers["RateLimit"].split(";")[1][2:]) for answer in answers if answer.status_code == 200)
    assert left == list(range(120))


async def test_a_refusal_says_when_the_minute_ends_and_the_next_minute_begins_anew(
    database: Database, served: Listening
) -> None:
    key = await bearer(served, requests_per_minute=1)
    answer = await served.client.get("/v1/models", headers=key)
    assert answer.headers["RateLimit-Policy"] == '"key-minute";q=1;w=60'
    assert left_in_minute(answer) == '"key-minute";r=0'
    answer = await served.client.get("/v1/transcriptions", headers=key)
    assert "Only 1 requests of this API key" in refused(answer, 429, "rate_limited")["detail"]
    assert answer.headers["RateLimit-Policy"] == '"key-minute";q=1;w=60'
    assert 1 <= int(answer.headers["Retry-After"]) <= 60
    assert f"t={answer.headers['Retry-After']}" in answer.headers["RateLimit"]
    await execute(database, "UPDATE request_count SET began_at = began_at - interval '1 minute'")
    assert (await served.client.get("/v1/models", headers=key)).status_code == 200


async def test_the_keys_of_a_tenant_share_its_limit_and_a_refused_request_costs_none_of_either(
    database: Database, served: Listening
) -> None:
    greedy, modest = await bearer(served, "a", "acme", requests_per_minute=2), await bearer(served, "b", "acme")
    stranger = await bearer(served, "b", "globex")
    await set_tenant_limits(served, "acme", requests_per_minute=3)
    statuses = [(await served.client.get("/v1/models", headers=greedy)).status_code for _ in range(5)]
    assert statuses == [200, 200, 429, 429, 429]
    answer = await served.client.get("/v1/models", headers=modest)
    assert (answer.status_code, left_in_minute(answer)) == (200, '"tenant-minute";r=0')
    answer = await served.client.get("/v1/models", headers=modest)
    assert "3 requests of all API keys of this tenant together" in refused(answer, 429, "rate_limited")["detail"]
    answer = await served.client.get("/v1/models", headers=stranger)
    assert answer.status_code == 200
    assert "RateLimit" not in answer.headers


async def test_every_kind_of_answer_counts_and_says_what_is_left(database: Database, served: Listening) -> None:
    key = await bearer(served, scopes=["read"], requests_per_minute=10)  # type: ignore[list-item]
    asked = [
        ("GET", "/v1/transcriptions/01989d2e-7c1b-7f9e-8a54-2f0f6f1f9c3e", 404),
        ("POST", "/v1/transcriptions", 403),
        ("GET", "/v1/transcriptions?limit=0", 422),
        ("GET", "/v1/nowhere", 404),
        ("DELETE", "/v1/models", 405),
        ("HEAD", "/v1/models", 200),
    ]
    for left, (method, path, status) in zip(range(9, 0, -1), asked, strict=False):
        answer = await served.client.request(method, path, headers=key)
        assert (answer.status_code, left_in_minute(answer)) == (status, f'"key-minute";r={left}')
    for path in ("/healthz", "/readyz", "/docs"):
        assert "RateLimit" not in (await served.client.get(path, headers=key)).headers


async def test_openai_s_clients_get_the_refusals_in_their_form(database: Database, served: Listening) -> None:
    key = await bearer(served, requests_per_minute=2, pending_jobs=0)
    form = {"files": {"file": ("call.wav", tone())}, "data": {"model": "whisper-1"}}
    answer = await served.client.post("/v1/audio/transcriptions", headers=key, **form)  # type: ignore[arg-type]
    error = answer.json()["error"]
    assert (answer.status_code, error["type"], error["code"]) == (429, "rate_limit_error", "insufficient_quota")
    assert answer.headers["x-should-retry"] == "false"
    assert served.stored_files() == []
    await served.client.get("/v1/models", headers=key)
    answer = await served.client.get("/v1/models/base", headers=key)
    error = answer.json()["error"]
    assert (answer.status_code, error["type"], error["code"]) == (429, "rate_limit_error", "rate_limit_exceeded")
    assert answer.headers["RateLimit-Policy"] == '"key-minute";q=2;w=60'


async def test_fifty_clients_get_exactly_as_many_waiting_jobs_as_the_limit(
    database: Database, served: Listening
) -> None:
    await bearer(served, "other", "acme")
    key = await bearer(served, "crm", "acme", pending_jobs=7)
    body = {"url": "https://recordings.example.com/a.wav"}

    async def ask() -> int:
        return (await served.client.post("/v1/transcriptions", json=body, headers=key)).status_code

    assert Counter(await asyncio.gather(*(ask() for _ in range(CLIENTS)))) == {202: 7, 429: CLIENTS - 7}


async def test_a_key_with_too_many_waiting_jobs_is_refused_before_its_upload_is_stored(
    database: Database, served: Listening
) -> None:
    key = await bearer(served, pending_jobs=1)
    first = await post(served, repeated := {**key, "Idempotency-Key": "a"})
    assert (await post(served, repeated)).json()["id"] == first.json()["id"]
    stored = served.stored_files()
    answer = await post(served, key)
    problem = refused(answer, 429, "quota_exceeded")
    assert problem["detail"] == "1 transcriptions of this API key are waiting, which is its limit."
    assert (answer.headers["RateLimit-Policy"], answer.headers["RateLimit"]) == (
        '"key-pending";q=1',
        '"key-pending";r=0',
    )
    assert int(answer.headers["Retry-After"]) >= 1
    assert served.stored_files() == stored
    await end_one(database)
    assert (await post(served, key)).status_code == 202


async def test_the_keys_of_a_tenant_share_its_waiting_jobs(database: Database, served: Listening) -> None:
    keys = [await bearer(served, name, "acme") for name in ("a", "b")]
    await set_tenant_limits(served, "acme", pending_jobs=2)
    assert [(await post(served, key)).status_code for key in (*keys, *keys)] == [202, 202, 429, 429]
    assert (await post(served, await bearer(served, "a", "globex"))).status_code == 202


async def test_audio_is_refused_that_would_exceed_the_hours_of_a_day(database: Database, served: Listening) -> None:
    key = await bearer(served, audio_hours_per_day=4 / 3600)
    assert (await post(served, key, 3)).status_code == 202  # it waits, and counts
    answer = await post(served, key, 2)
    detail = refused(answer, 429, "quota_exceeded")["detail"]
    assert detail == (
        "This API key may send 0.00111111 hours of audio a day (UTC). Today 1 s are left, and this recording has 2 s."
    )
    assert '"key-audio";q=4;qu="audio-seconds";w=86400' in answer.headers["RateLimit-Policy"]
    assert answer.headers["RateLimit"].startswith('"key-audio";r=1;t=')
    assert 0 < int(answer.headers["Retry-After"]) <= 86_400
    await end_one(database)  # SUCCESS says that it lasted one second
    assert (await post(served, key, 3)).status_code == 202
    assert (await post(served, key, 0.1)).status_code == 429
    await execute(database, "DELETE FROM transcription WHERE status = 'completed'")  # what was used stays used
    assert (await post(served, key, 0.1)).status_code == 429


async def test_audio_of_unknown_length_is_refused_only_when_nothing_is_left(
    database: Database, served: Listening
) -> None:
    key = await bearer(served, "crm", "acme")
    await set_tenant_limits(served, "acme", audio_hours_per_day=1 / 3600)
    body = {"url": "https://recordings.example.com/a.wav"}
    statuses = [(await served.client.post("/v1/transcriptions", json=body, headers=key)).status_code for _ in range(2)]
    assert statuses == [202, 202]
    [job] = await claim(database, 0, fetches=1)
    await finish(database, job, SUCCESS)
    answer = await served.client.post("/v1/transcriptions", json=body, headers=key)
    assert refused(answer, 429, "quota_exceeded")["detail"] == (
        "All API keys of this tenant together may send 0.000277778 hours of audio a day (UTC). Today 0 s are left."
    )
    await execute(database, "UPDATE usage_entry SET day = day - 1")  # as if it had been yesterday
    answer = await served.client.post("/v1/transcriptions", json=body, headers=key)
    assert answer.status_code == 202


async def test_a_recording_that_no_day_has_room_for_is_not_asked_for_again(
    database: Database, served: Listening
) -> None:
    answer = await post(served, await bearer(served, audio_hours_per_day=1 / 3600), 2)
    refused(answer, 429, "quota_exceeded")
    assert "Retry-After" not in answer.headers


async def test_a_key_without_any_place_is_not_asked_to_come_again(database: Database, served: Listening) -> None:
    answer = await post(served, await bearer(served, pending_jobs=0))
    refused(answer, 429, "quota_exceeded")
    assert "Retry-After" not in answer.headers


async def test_counts_begin_anew_after_a_crash_of_postgresql(database: Database) -> None:
    """PostgreSQL empties tables that it does not log when it starts after a crash."""
    caller = Caller("crm", limits=Limits(requests_per_minute=2))
    assert (await rates.count(database, caller)).admitted
    await execute(database, "TRUNCATE request_count")
    assert [(await rates.count(database, caller)).minutes[0].remaining for _ in range(2)] == [1, 0]
    assert not (await rates.count(database, caller)).admitted
    async with database.engine.connect() as connection:
        kind = "SELECT relpersistence::text FROM pg_class WHERE relname = 'request_count'"
        assert (await connection.execute(text(kind))).scalar_one() == "u"
