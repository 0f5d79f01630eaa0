"""A failed or cancelled transcription is retried: a new job for the same recording, and none is lost or made twice."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from app.database.connections import Database
from app.jobs.lifecycle import Failed, Outcome
from app.jobs.upkeep.retention import Retention
from app.storage.folder_store import LocalAudioStore
from app.storage.store import AudioStore
from testing.forms import refused
from testing.listening import Listening, listening
from testing.recordings import tone
from testing.rows import SUCCESS, claim, date_end, execute, finish, read

BROKEN = Failed("transcription_failed", "it failed")
ASKED = {
    "language": "de",
    "channels": "split",
    "priority": "3",
    "external_id": "crm-1",
    "metadata": '{"agent": "Eva"}',
    "webhook_url": "https://receiver.example.com/hook",
    "callback_url": "https://receiver.example.com/{id}/{status}",
}
URL = "https://recordings.example.com/call.wav"


@pytest.fixture
def folder_store(tmp_path: Path) -> AudioStore:
    return LocalAudioStore(tmp_path / "audio")


@pytest.fixture
async def served(database: Database, tmp_path: Path) -> AsyncIterator[Listening]:
    async with listening(database, tmp_path, max_pending="6") as served:
        yield served


async def uploaded(served: Listening, **fields: str) -> dict[str, Any]:
    answer = await served.client.post("/v1/transcriptions", files={"file": ("call.wav", tone())}, data=fields)
    assert answer.status_code == 202, answer.text
    job: dict[str, Any] = answer.json()
    return job


async def failed(served: Listening, database: Database, **fields: str) -> dict[str, Any]:
    """A failed job, whose recording is kept."""
    return await ended(served, database, BROKEN, **fields)


async def ended(served: Listening, database: Database, outcome: Outcome, **fields: str) -> dict[str, Any]:
    job = await uploaded(served, **fields)
    [claimed] = await claim(database)
    await finish(database, claimed, outcome)
    return job


async def retry(served: Listening, job: dict[str, Any], status: int = 202, key: str | None = None) -> dict[str, Any]:
    answer = await served.client.post(f"{job['links']['self']}/retry", headers={"Idempotency-Key": key} if key else {})
    assert answer.status_code == status, answer.text
    new: dict[str, Any] = answer.json()
    assert answer.headers["Location"] == new["links"]["self"]
    return new


async def shown(served: Listening, job: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = (await served.client.get(job["links"]["self"])).json()
    return found


async def recording(served: Listening, job: dict[str, Any]) -> bytes | None:
    answer = await served.client.get(f"{job['links']['self']}/audio")
    return answer.content if answer.status_code == 200 else None


async def test_the_new_job_has_everything_that_was_asked_for_and_the_old_one_stays_failed(
    served: Listening, database: Database
) -> None:
    old = await failed(served, database, **ASKED)
    new = await retry(served, old)
    assert (new["status"], new["retry_of"], new["attempts"]) == ("pending", old["id"], 0)
    for name in ("options", "metadata", "external_id", "audio"):
        assert new[name] == old[name], name
    before, after = await read(database, UUID(old["id"])), await read(database, UUID(new["id"]))
    assert (before.status, before.error_code, before.idempotency_key) == ("failed", "transcription_failed", None)
    assert (after.webhook_urls, after.callback_urls) == (before.webhook_urls, before.callback_urls)
    assert len(after.webhook_urls) == len(after.callback_urls) == 1
    assert (await shown(served, old))["retried_as"] == new["id"]
    listed = (await served.client.get("/v1/transcriptions")).json()["items"]
    assert [(job["retry_of"], job["retried_as"]) for job in listed] == [(old["id"], None), (None, new["id"])]


async def test_the_retry_runs_and_has_an_event_of_its_own(served: Listening, database: Database) -> None:
    old = await failed(served, database, **ASKED)
    new = await retry(served, old)
    [claimed] = await claim(database)
    assert str(claimed.id) == new["id"]
    await finish(database, claimed, SUCCESS)
    deliveries = [(await served.client.get(f"{job['links']['self']}/deliveries")).json()["items"] for job in (old, new)]
    events = [{each["webhook_id"] for each in of_job} for of_job in deliveries]
    assert [len(of_job) for of_job in deliveries] == [2, 2]
    assert events[0].isdisjoint(events[1])
    assert {each["type"] for each in deliveries[1]} == {"transcription.completed"}


async def test_two_clicks_make_one_job_until_it_has_ended(served: Listening, database: Database) -> None:
    old = await failed(served, database)
    answers = await asyncio.gather(*(served.client.post(f"{old['links']['self']}/retry") for _ in range(6)))
    assert sorted(answer.status_code for answer in answers) == [200] * 5 + [202]
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert len(served.stored_files()) == 2
    [claimed] = await claim(database)
    await retry(served, old, 200)
    await finish(database, claimed, BROKEN)
    second = await retry(served, old)
    assert second["id"] != answers[0].json()["id"]
    assert (await shown(served, old))["retried_as"] == second["id"]


async def test_a_repeated_idempotency_key_leads_to_the_same_retry_even_after_its_end(
    served: Listening, database: Database
) -> None:
    old, other = await failed(served, database), await failed(served, database)
    new = await retry(served, old, key="click-1")
    [claimed] = await claim(database)
    await finish(database, claimed, BROKEN)
    assert (await retry(served, old, 200, key="click-1"))["id"] == new["id"]
    key = {"Idempotency-Key": "click-1"}
    answer = await served.client.post(f"{other['links']['self']}/retry", headers=key)
    refused(answer, 422, "idempotency_key_reused")
    files = {"file": ("call.wav", tone())}
    refused(await served.client.post("/v1/transcriptions", files=files, headers=key), 422, "idempotency_key_reused")
    twice = [("Idempotency-Key", "a"), ("Idempotency-Key", "b")]
    refused(await served.client.post(f"{old['links']['self']}/retry", headers=twice), 422, "invalid_request")


@pytest.mark.parametrize("first", ["old", "new"])
async def test_erasing_one_of_the_two_leaves_the_recording_of_the_other(
    served: Listening, database: Database, first: str
) -> None:
    old = await failed(served, database)
    new = await retry(served, old)
    erased, kept = (old, new) if first == "old" else (new, old)
    assert (await served.client.delete(erased["links"]["self"])).status_code == 204
    assert await recording(served, kept) == tone()
    assert len(served.stored_files()) == 1
    if first == "new":
        assert (await shown(served, old))["retried_as"] is None
        await retry(served, old)
    else:
        assert (await shown(served, new))["retry_of"] == old["id"]
        assert (await served.client.delete(new["links"]["self"])).status_code == 204
        assert served.stored_files() == []


async def test_retention_and_the_search_for_orphans_leave_the_recording_of_the_retry(
    served: Listening, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.jobs.upkeep.retention.ORPHAN_SECONDS", -1.0)
    old = await failed(served, database)
    new = await retry(served, old)
    await date_end(database, UUID(old["id"]), days_ago=4)
    retention = Retention(database, served.service.parts.store, keep_failed_audio_days=3)
    await retention.sweep()
    for _ in range(2):
        await retention.erase_orphans()
    assert [await recording(served, job) for job in (old, new)] == [None, tone()]
    assert (await retry(served, old, 200))["id"] == new["id"]


async def test_cancelling_the_retry_leaves_the_recording_of_the_failed_job(
    served: Listening, database: Database
) -> None:
    old = await failed(served, database)
    new = await retry(served, old)
    assert (await served.client.post(f"{new['links']['self']}/cancel")).status_code == 200
    assert [await recording(served, job) for job in (old, new)] == [tone(), None]
    again = await retry(served, old)
    assert again["id"] not in (old["id"], new["id"])


async def test_a_cancelled_job_whose_recording_comes_by_url_can_be_retried(
    served: Listening, database: Database
) -> None:
    job = (await served.client.post("/v1/transcriptions/from-url", json={"url": URL})).json()
    await served.client.post(f"{job['links']['self']}/cancel")
    new = await retry(served, job)
    assert new["audio"]["source"] == URL
    [claimed] = await claim(database, 0, fetches=1)
    assert (str(claimed.id), claimed.source, claimed.source_host) == (new["id"], URL, "recordings.example.com:443")


async def test_a_recording_that_was_fetched_and_kept_is_not_fetched_again(
    served: Listening, database: Database
) -> None:
    job = await failed(served, database)
    await execute(database, "UPDATE transcription SET source = :url, source_host = 'recordings.example.com'", url=URL)
    new = await retry(served, job)
    assert await recording(served, new) == tone()
    assert [str(each.id) for each in await claim(database)] == [new["id"]]


@pytest.mark.parametrize("source", ["upload", "file:///in/call.wav"])
async def test_a_recording_that_is_gone_is_said_to_be_gone(served: Listening, database: Database, source: str) -> None:
    job = await failed(served, database)
    await execute(database, "UPDATE transcription SET audio_key = NULL, source = :source", source=source)
    problem = refused(await served.client.post(f"{job['links']['self']}/retry"), 409, "recording_gone")
    assert problem["detail"] == "The service does not keep the recording any more. Post it again."


async def test_a_recording_whose_file_is_missing_is_gone_or_is_fetched_again(
    served: Listening, database: Database
) -> None:
    job = await failed(served, database)
    await served.service.parts.store.delete(job["id"])
    refused(await served.client.post(f"{job['links']['self']}/retry"), 409, "recording_gone")
    await execute(database, "UPDATE transcription SET source = :url, source_host = 'recordings.example.com'", url=URL)
    new = await retry(served, job)
    assert (new["links"]["audio"], new["audio"]["sha256"]) == (None, None)


async def test_only_failed_and_cancelled_jobs_are_retried(served: Listening, database: Database) -> None:
    completed = await ended(served, database, SUCCESS)
    waiting = await uploaded(served)
    for job, status in ((completed, "completed"), (waiting, "pending")):
        problem = refused(await served.client.post(f"{job['links']['self']}/retry"), 409, "not_failed")
        assert problem["detail"] == f"The transcription is {status}."
    refused(await served.client.post(f"/v1/transcriptions/{uuid4()}/retry"), 404, "not_found")


async def test_a_retry_that_is_refused_leaves_no_copy(served: Listening, database: Database) -> None:
    old = await failed(served, database)
    await execute(database, 'UPDATE transcription SET options = options || \'{"model": "other"}\'')
    problem = refused(await served.client.post(f"{old['links']['self']}/retry"), 422, "invalid_request")
    assert problem["errors"][0]["field"] == "model"
    await execute(database, 'UPDATE transcription SET options = options || \'{"model": "base"}\'')
    for _ in range(6):
        await uploaded(served)
    refused(await served.client.post(f"{old['links']['self']}/retry"), 429, "queue_full")
    assert len(served.stored_files()) == 7


@pytest.mark.parametrize("kind", ["folder_store", "bucket_store"])
async def test_a_copy_survives_the_original(request: pytest.FixtureRequest, kind: str) -> None:
    store: AudioStore = request.getfixturevalue(kind)

    async def stream() -> AsyncIterator[bytes]:
        yield tone()

    original, copy = str(uuid4()), str(uuid4())
    await store.save(original, stream(), 1_000_000)
    await store.copy(original, copy)
    await store.delete(original)
    assert b"".join([block async for block in await store.read(copy, range(1_000_000))]) == tone()
    with pytest.raises(FileNotFoundError):
        await store.copy(original, str(uuid4()))
