"""`/v1/usage` counts what ended, also after the calls are erased, and shows a tenant only its own."""

import csv
import io
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from app.access.callers import Scope
from app.database.connections import Database
from app.jobs.lifecycle import AudioFacts, Failed, Succeeded, Timings
from app.jobs.upkeep.retention import Retention
from app.storage.folder_store import LocalAudioStore
from app.transcripts.transcript import Options
from testing.forms import refused
from testing.keys import bearer
from testing.listening import Listening, listening
from testing.rows import SILENCE, claim, enqueue, execute, finish

TODAY = datetime.now(UTC).date().isoformat()


@pytest.fixture
async def served(database: Database, tmp_path: Path) -> AsyncIterator[Listening]:
    async with listening(database, tmp_path) as served:
        yield served


async def end(database: Database, seconds: float | None, caller: str = "crm", model: str = "base") -> None:
    """A job that is completed, or that fails if it has no seconds."""
    await enqueue(database, caller=caller, options=Options(model=model))
    [job] = await claim(database)
    facts = AudioFacts(seconds or 0, "pcm_mulaw", 8000, 1)
    outcome = Failed("bad_media", "broken") if seconds is None else Succeeded(SILENCE, facts, Timings(0.1, 0.2))
    await finish(database, job, outcome)


async def read(served: Listening, key: dict[str, str], query: str = "") -> Any:
    answer = await served.client.get(f"/v1/usage?{query}", headers=key)
    assert answer.status_code == 200, answer.text
    return [{name: value for name, value in row.items() if value is not None} for row in answer.json()["items"]]


def sums(jobs: int, completed: int, failed: int, seconds: float, cancelled: int = 0) -> dict[str, Any]:
    return {
        "jobs": jobs,
        "completed": completed,
        "failed": failed,
        "cancelled": cancelled,
        "audio_seconds": seconds,
    }


async def test_the_usage_is_what_ended_and_stays_when_the_calls_are_erased(
    database: Database, served: Listening, tmp_path: Path
) -> None:
    key = await bearer(served, "crm")
    waiting = await enqueue(database, caller="crm", priority=9)
    for seconds in (10.5, 20.25, None):
        await end(database, seconds)
    await end(database, 5, model="large-v3")
    await end(database, 7, caller="dialler")
    answer = await served.client.post(f"/v1/transcriptions/{waiting.id}/cancel", headers=key)
    assert answer.status_code == 200
    truth = [{"day": TODAY} | sums(6, 4, 1, 42.75, 1)]
    assert await read(served, key) == truth
    by_key = [
        {"tenant": "default", "key": "crm"} | sums(5, 3, 1, 35.75, 1),
        {"tenant": "default", "key": "dialler"} | sums(1, 1, 0, 7.0),
    ]
    assert await read(served, key, "by=key") == by_key
    retention = Retention(database, LocalAudioStore(tmp_path / "empty"))
    await retention.add_up_usage()
    assert await read(served, key, "by=key") == by_key
    await end(database, 1)  # after the others were added up
    for job in (await served.client.get("/v1/transcriptions", headers=key)).json()["items"]:
        assert (await served.client.delete(job["links"]["self"], headers=key)).status_code == 204
    await retention.add_up_usage()
    assert await read(served, key) == [{"day": TODAY} | sums(7, 5, 1, 43.75, 1)]
    by_model = [{"model": "base"} | sums(6, 4, 1, 38.75, 1), {"model": "large-v3"} | sums(1, 1, 0, 5.0)]
    assert await read(served, key, "by=model") == by_model
    assert len(await read(served, key, "by=day&by=key&by=model")) == 3


async def test_days_are_chosen_and_told_apart(database: Database, served: Listening) -> None:
    key = await bearer(served, "crm")
    for days in (0, 1, 40):
        await end(database, 10 + days)
        moved = "UPDATE usage_entry SET day = day - make_interval(days => :days) WHERE audio_seconds = :seconds"
        await execute(database, moved, days=days, seconds=10 + days)
    first = (datetime.now(UTC).date() - timedelta(days=40)).isoformat()
    rows = await read(served, key, f"from={first}&to={TODAY}")
    assert [row["audio_seconds"] for row in rows] == [50, 11, 10]
    assert rows[0]["day"] == first
    assert await read(served, key, f"from={first}&to={first}&by=model") == [{"model": "base"} | sums(1, 1, 0, 50.0)]
    refused(await served.client.get(f"/v1/usage?from={TODAY}&to={first}", headers=key), 422, "invalid_request")
    future = datetime.now(UTC).date() + timedelta(days=9)
    problem = refused(await served.client.get(f"/v1/usage?from={future}", headers=key), 422, "invalid_request")
    assert "`to`, which is today" in problem["errors"][0]["detail"]
    for day in ("yesterday", "0", "2026-13-01", "2026-11-28T00:00:00Z"):
        refused(await served.client.get(f"/v1/usage?to={day}", headers=key), 422, "invalid_request")


async def test_a_tenant_sees_its_own_usage_and_an_admin_that_of_all(database: Database, served: Listening) -> None:
    acme, boss = await bearer(served, "crm", "acme"), await bearer(served, "boss", "globex", [Scope.ADMIN])
    await end(database, 10, caller="acme:crm")
    await end(database, 20, caller="globex:crm")
    await end(database, 40)
    mine = [{"tenant": "acme", "key": "crm"} | sums(1, 1, 0, 10.0)]
    assert await read(served, acme, "by=key") == await read(served, acme, "by=key&tenant=acme") == mine
    refused(await served.client.get("/v1/usage?tenant=globex", headers=acme), 403, "forbidden")
    by_tenant = [{"tenant": name} | sums(1, 1, 0, s) for name, s in (("acme", 10), ("default", 40), ("globex", 20))]
    assert await read(served, boss, "by=tenant") == by_tenant
    assert await read(served, boss, "by=key&tenant=acme") == mine
    writer = await bearer(served, "writer", "acme", [Scope.TRANSCRIBE])
    refused(await served.client.get("/v1/usage", headers=writer), 403, "forbidden")


async def test_the_usage_as_csv(database: Database, served: Listening) -> None:
    key = await bearer(served, "crm")
    await end(database, 10.5)
    asked = await served.client.get("/v1/usage?by=key", headers=key | {"Accept": "text/csv"})
    named = await served.client.get("/v1/usage?by=key&format=csv", headers=key)
    assert asked.text == named.text
    assert asked.headers["Content-Type"] == "text/csv; charset=utf-8"
    [row] = csv.DictReader(io.StringIO(named.text))
    assert (row["day"], row["tenant"], row["key"], row["jobs"], row["audio_seconds"]) == (
        "",
        "default",
        "crm",
        "1",
        "10.5",
    )
    answer = await served.client.get("/v1/usage", headers=key | {"Accept": "image/png"})
    refused(answer, 406, "not_acceptable")
