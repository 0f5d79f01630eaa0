"""Everything that reads or changes calls, and everything that changes keys and limits, leaves an entry in the audit."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from app.access import audit
from app.access.audit import Action
from app.access.callers import Caller, Scope
from app.database.connections import Database
from app.jobs.changes import changing
from app.jobs.upkeep import erasure
from app.jobs.upkeep.retention import Retention
from app.storage.folder_store import LocalAudioStore
from testing.forms import refused
from testing.keys import bearer
from testing.listening import Listening, listening
from testing.recordings import tone
from testing.rows import KEEP_AUDIO, SUCCESS, TESTER, claim, date_end, enqueue, execute, finish

URL = "https://recordings.example.com/call.wav"
NOBODY = "01989d2e-7c1b-7f9e-8a54-2f0f6f1f9c3e"


@pytest.fixture
async def served(database: Database, tmp_path: Path) -> AsyncIterator[Listening]:
    async with listening(database, tmp_path) as served:
        yield served


async def entries(served: Listening, key: dict[str, str], query: str = "") -> list[dict[str, Any]]:
    answer = await served.client.get(f"/v1/audit?{query}", headers=key)
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


async def completed(served: Listening, database: Database, key: dict[str, str]) -> str:
    """The path of a completed call, whose recording is kept."""
    files = {"file": ("call.wav", tone())}
    job = (await served.client.post("/v1/transcriptions", files=files, headers=key)).json()
    [claimed] = await claim(database)
    await finish(database, claimed, SUCCESS)
    path: str = job["links"]["self"]
    return path


async def test_who_reads_a_call_leaves_an_entry_that_outlives_the_call(database: Database, served: Listening) -> None:
    key, boss = await bearer(served, "crm", "acme"), await bearer(served, "boss", scopes=[Scope.ADMIN])
    path = await completed(served, database, key)
    call = path.rpartition("/")[2]
    asked = key | {"X-Request-ID": "from-the-crm"}
    for request in (
        served.client.get(f"{path}/transcript", headers=asked),
        served.client.get(f"{path}/audio", headers=key | {"Range": "bytes=0-9"}),
        served.client.post("/v1/transcriptions/export", json={"ids": [call, NOBODY]}, headers=key),
        served.client.delete(path, headers=key),
    ):
        assert (await request).status_code in (200, 204, 206)
    found = await entries(served, boss, f"transcription_id={call}")
    done = [entry["action"] for entry in found]
    assert done == ["call.erased", "transcript.exported", "recording.read", "transcript.read"]
    assert {(entry["caller"], entry["tenant"], entry["address"]) for entry in found} == {
        ("acme:crm", "acme", "127.0.0.1")
    }
    assert found[-1]["request_id"] == "from-the-crm"


async def test_what_was_not_given_is_not_in_the_audit(database: Database, served: Listening) -> None:
    key, boss = await bearer(served, "crm", "acme"), await bearer(served, "boss", scopes=[Scope.ADMIN])
    stranger = await bearer(served, "crm", "globex")
    path = await completed(served, database, key)
    files = {"file": ("call.wav", tone())}
    waiting = (await served.client.post("/v1/transcriptions", files=files, headers=key)).json()["links"]["transcript"]
    for asked, by, status in (
        (f"{path}/transcript", stranger, 404),
        (f"{path}/audio", stranger, 404),
        (waiting, key, 409),
        (f"/v1/transcriptions/{NOBODY}/transcript", key, 404),
        (path, key, 200),
        ("/v1/transcriptions", key, 200),
    ):
        assert (await served.client.get(asked, headers=by)).status_code == status
    assert await entries(served, boss, "caller=acme:crm") == await entries(served, boss, "caller=globex:crm") == []


async def test_a_search_names_the_calls_that_it_shows(database: Database, served: Listening) -> None:
    key, boss = await bearer(served, "crm"), await bearer(served, "boss", scopes=[Scope.ADMIN])
    await completed(served, database, key)
    await served.client.get("/v1/transcriptions?q=refund", headers=key)
    [entry] = await entries(served, boss, "action=transcript.searched")
    assert (entry["caller"], entry["transcription_id"]) == ("crm", None)
    assert "refund" not in str(entry)


async def test_changes_of_keys_and_limits_are_in_the_audit(database: Database, served: Listening) -> None:
    boss = await bearer(served, "boss", scopes=[Scope.ADMIN])
    made = (await served.client.post("/v1/keys", json={"name": "crm", "tenant": "acme"}, headers=boss)).json()
    await served.client.put("/v1/tenants/acme", json={"pending_jobs": 3}, headers=boss)
    await served.client.delete(f"/v1/keys/{made['id']}", headers=boss)
    found = await entries(served, boss, "caller=boss")
    assert [entry["action"] for entry in found] == ["key.revoked", "limits.changed", "key.created"]
    assert {entry["tenant"] for entry in found} == {"acme"}
    assert found[1]["details"] == {"requests_per_minute": None, "pending_jobs": 3, "audio_hours_per_day": None}
    assert found[2]["about"] == "crm"
    assert made["key"] not in str(found)


async def test_who_cancels_and_retries_a_call_leaves_one_entry_each(database: Database, served: Listening) -> None:
    key, boss = await bearer(served, "crm", "acme"), await bearer(served, "boss", scopes=[Scope.ADMIN])
    job = (await served.client.post("/v1/transcriptions", json={"url": URL}, headers=key)).json()
    path, new, stranger = job["links"]["self"], "", await bearer(served, "crm", "globex")
    for asked, by, statuses in (
        ("retry", key, [409]),
        ("cancel", stranger, [404]),
        ("cancel", key, [200, 409]),
        ("retry", stranger, [404]),
        ("retry", key, [202, 200]),
    ):
        for status in statuses:
            answer = await served.client.post(f"{path}/{asked}", headers=by)
            assert answer.status_code == status, answer.text
            new = answer.json().get("id", new)
    await claim(database, 0, fetches=1)
    for _ in range(2):
        assert (await served.client.post(f"/v1/transcriptions/{new}/cancel", headers=key)).status_code == 200
    found = await entries(served, boss, "caller=acme:crm")
    assert [(each["action"], each["transcription_id"], each["details"]) for each in found] == [
        ("call.cancelled", new, None),
        ("call.retried", job["id"], {"retried_as": new}),
        ("call.cancelled", job["id"], None),
    ]
    assert {(each["tenant"], each["address"]) for each in found} == {("acme", "127.0.0.1")}


async def test_retention_and_batches_are_in_the_audit(database: Database, served: Listening, tmp_path: Path) -> None:
    key, boss = await bearer(served, "crm", "acme"), await bearer(served, "boss", scopes=[Scope.ADMIN])
    call = (await completed(served, database, key)).rpartition("/")[2]
    await date_end(database, UUID(call), 2)
    retention = Retention(database, LocalAudioStore(tmp_path / "empty"), keep_audio_days=1, keep_transcript_days=1)
    await retention.sweep()
    found = await entries(served, boss, f"transcription_id={call}")
    assert [(entry["action"], entry["caller"], entry["tenant"]) for entry in found] == [
        ("call.erased", "retention", "acme")
    ]
    call = (await completed(served, database, key)).rpartition("/")[2]
    async with database.transaction() as session:
        assert len(await erasure.forget_audio(session, timedelta(0), timedelta(0), 10)) == 1
    [entry] = await entries(served, boss, f"transcription_id={call}")
    assert (entry["action"], entry["caller"], entry["tenant"]) == ("recording.erased", "retention", "acme")
    source = {"source": {"urls": ["https://recordings.example.com/a.wav"]}}
    batch = (await served.client.post("/v1/batches", json=source, headers=key)).json()
    await served.client.delete(batch["links"]["self"], headers=key)
    [entry] = await entries(served, boss, "action=batch.erased")
    assert (entry["caller"], entry["about"]) == ("acme:crm", batch["id"])


async def test_who_cancels_and_retries_a_batch_is_in_the_audit_with_each_of_its_calls(
    database: Database, served: Listening
) -> None:
    key, boss = await bearer(served, "crm", "acme"), await bearer(served, "boss", scopes=[Scope.ADMIN])
    source = {"source": {"urls": [f"https://recordings.example.com/{number}.wav" for number in range(3)]}}
    batch = (await served.client.post("/v1/batches", json=source, headers=key)).json()
    await served.service.feeder.look_after_all()
    for request in ("cancel", "retry"):
        answer = await served.client.post(f"{batch['links']['self']}/{request}", headers=key)
        assert answer.status_code == 200, answer.text
        await execute(database, "UPDATE recording_batch SET look_at = now()")
        await served.service.feeder.look_after_all()
        await execute(database, "UPDATE recording_batch SET look_at = now()")
        await served.service.feeder.look_after_all()
    found = [entry for entry in await entries(served, boss, "tenant=acme") if entry["action"] != "key.created"]
    assert [(entry["action"], entry["caller"]) for entry in reversed(found)] == [
        ("batch.cancelled", "acme:crm"),
        *[("call.cancelled", "batch")] * 3,
        *[("call.retried", "acme:crm")] * 3,
        ("batch.retried", "acme:crm"),
    ]
    assert {entry["about"] for entry in found} == {batch["id"]}
    assert len({entry["transcription_id"] for entry in found}) == 4


async def test_only_an_admin_reads_the_audit_page_by_page(database: Database, served: Listening) -> None:
    key, boss = await bearer(served, "crm"), await bearer(served, "boss", scopes=[Scope.ADMIN])
    refused(await served.client.get("/v1/audit", headers=key), 403, "forbidden")
    path = await completed(served, database, key)
    for _ in range(5):
        await served.client.get(f"{path}/transcript", headers=key)
    pages, cursor = [], ""
    while True:
        query = f"limit=2&action=transcript.read{cursor}"
        page = (await served.client.get(f"/v1/audit?{query}", headers=boss)).json()
        pages.append([entry["at"] for entry in page["items"]])
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert [len(page) for page in pages] == [2, 2, 1]
    times = [at for page in pages for at in page]
    assert times == sorted(times, reverse=True)
    assert len(await entries(served, boss, f"to={times[1]}&from={times[3]}&action=transcript.read")) == 2
    refused(await served.client.get("/v1/audit?cursor=x", headers=boss), 422, "invalid_request")
    reads, today = "action=transcript.read", datetime.now(UTC).date()
    assert len(await entries(served, boss, f"{reads}&from={today - timedelta(days=1)}")) == 5
    assert await entries(served, boss, f"{reads}&to={today - timedelta(days=1)}") == []
    refused(await served.client.get("/v1/audit?from=0", headers=boss), 422, "invalid_request")


async def test_a_change_that_cannot_be_written_into_the_audit_is_not_made(
    database: Database, served: Listening
) -> None:
    job = await enqueue(database, source=URL, audio_key=None)

    async def cancel() -> None:
        async with database.transaction() as session:
            await changing.request_cancel(session, job.id, TESTER, KEEP_AUDIO)

    async def retry() -> None:
        assert (await served.service.retries.retry(job.id, TESTER)).is_new

    for change in (cancel, retry):
        await execute(database, "ALTER TABLE audit RENAME TO elsewhere")
        with pytest.raises(DBAPIError):
            await change()
        await execute(database, "ALTER TABLE elsewhere RENAME TO audit")
        await change()  # it was not made before


async def test_a_read_that_cannot_be_written_into_the_audit_is_not_answered(
    database: Database, served: Listening
) -> None:
    key = await bearer(served, "crm")
    path = await completed(served, database, key)
    await execute(database, "ALTER TABLE audit RENAME TO elsewhere")
    for what in ("transcript", "audio"):
        assert (await served.client.get(f"{path}/{what}", headers=key)).status_code >= 500
    await execute(database, "ALTER TABLE elsewhere RENAME TO audit")
    assert (await served.client.get(f"{path}/transcript", headers=key)).status_code == 200


async def test_readers_of_one_call_do_not_wait_for_one_another(database: Database) -> None:
    async with database.transaction() as first, database.transaction() as second:
        for session in (first, second):
            await audit.note_read(session, Action.TRANSCRIPT_READ, Caller("crm"), [UUID(NOBODY)])
        waits = "SELECT current_setting('synchronous_commit')"
        assert (await first.exec(text(waits))).scalar_one() == "off"  # type: ignore[call-overload]
    async with asyncio.timeout(10), database.transaction() as session:
        assert await audit.erase_old(session, timedelta(0), 1) == 1
        assert await audit.erase_old(session, timedelta(days=1), 10) == 0
