"""The recordings and transcripts that are kept after a job's end, and those that the sweeps erase."""

import json
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlmodel import select
from uuid_utils.compat import uuid7

from app.database.connections import Database
from app.deliveries.models import Event
from app.jobs.changes import changing
from app.jobs.claims.ending import AtEnd
from app.jobs.lifecycle import MAX_CRASHES, Failed, Interrupted, Status
from app.jobs.models import StoredTranscript, Transcription
from app.jobs.upkeep import erasure, retention
from app.jobs.upkeep.retention import Retention
from app.storage.folder_store import LocalAudioStore
from app.storage.store import AudioStore, StoreUnavailable
from testing.files import files_in
from testing.rows import (
    FORGET_AUDIO,
    KEEP_AUDIO,
    SUCCESS,
    TESTER,
    claim,
    date_end,
    enqueue,
    execute,
    expire_leases,
    finish,
    read,
    take_back_lost,
)

CONTENT = b"a recording"


@pytest.fixture
def store(tmp_path: Path) -> LocalAudioStore:
    return LocalAudioStore(tmp_path / "audio")


async def save(store: AudioStore, key: str) -> None:
    async def stream() -> AsyncIterator[bytes]:
        yield CONTENT

    await store.save(key, stream(), len(CONTENT))


async def ended(database: Database, store: LocalAudioStore, *, days_ago: float, **columns: Any) -> UUID:
    """A completed job with its recording in the store."""
    job_id = uuid7()
    await save(store, str(job_id))
    await enqueue(database, id=job_id, audio_key=str(job_id), priority=0, **columns)
    (job,) = await claim(database)
    assert await finish(database, job, SUCCESS) == Status.COMPLETED
    await date_end(database, job_id, days_ago)
    return job_id


def recordings(store: LocalAudioStore) -> set[str]:
    return {path.name for path in files_in(store.folder)}


def age(store: LocalAudioStore, seconds: float) -> None:
    for path in files_in(store.folder):
        os.utime(path, (time.time() - seconds, time.time() - seconds))


async def search_twice(retention: Retention) -> None:
    """Search for orphans twice. The service waits an hour between two searches."""
    for _ in range(2):
        await retention.erase_orphans()


async def rows(database: Database) -> set[UUID]:
    async with database.transaction() as session:
        return set(await session.exec(select(Transcription.id)))


async def test_recordings_are_kept_for_the_configured_days(database: Database, store: LocalAudioStore) -> None:
    old = await ended(database, store, days_ago=7.01)
    new = await ended(database, store, days_ago=6.99)
    keeping = Retention(database, store, keep_audio_days=7)
    assert not keeping.forgets_audio
    await keeping.sweep()
    assert recordings(store) == {str(new)}
    assert (await read(database, old)).audio_key is None
    assert await rows(database) == {old, new}


async def finished(database: Database, job_id: UUID, at_end: AtEnd) -> None:
    [job] = await claim(database)
    assert await finish(database, job, SUCCESS, at_end) == Status.COMPLETED


async def cancelled(database: Database, job_id: UUID, at_end: AtEnd) -> Sequence[str]:
    async with database.transaction() as session:
        return (await changing.request_cancel(session, job_id, TESTER, at_end)).forgotten_audio


async def given_up(database: Database, job_id: UUID, at_end: AtEnd) -> Sequence[str]:
    for _ in range(MAX_CRASHES):
        await claim(database)
        await expire_leases(database)
        closed = await take_back_lost(database, at_end)
    return closed[0].forgotten_audio


@pytest.mark.parametrize("end", [finished, cancelled, given_up])
@pytest.mark.parametrize("forget_audio", [True, False])
async def test_a_recording_that_is_not_kept_is_forgotten_before_receivers_are_notified(
    database: Database, end: Callable[..., Awaitable[Sequence[str] | None]], forget_audio: bool
) -> None:
    job = await enqueue(database, webhook_urls=["https://example.com/"])
    forgotten = await end(database, job.id, FORGET_AUDIO if forget_audio else KEEP_AUDIO)
    if end is not finished:  # its worker knows the recording's key
        assert forgotten == ([job.audio_key] if forget_audio else [])
    row = await read(database, job.id)
    assert row.audio_key == (None if forget_audio else job.audio_key)
    assert (row.bytes, row.sha256) == (job.bytes, job.sha256)
    async with database.transaction() as session:
        [body] = await session.exec(select(Event.body))
    link = None if forget_audio else f"/v1/transcriptions/{job.id}/audio"
    assert json.loads(body)["data"]["links"]["audio"] == link


async def test_an_attempt_that_is_not_the_last_does_not_forget_the_recording(database: Database) -> None:
    job = await enqueue(database)
    for outcome in (Interrupted(), Failed("transcription_failed", "…", transient=True)):
        await execute(database, "UPDATE transcription SET run_at = now()")
        [leased] = await claim(database)
        assert await finish(database, leased, outcome, FORGET_AUDIO) == Status.PENDING
        assert (await read(database, job.id)).audio_key == job.audio_key


@pytest.mark.parametrize("kind", ["store", "bucket_store"])
async def test_a_recording_that_a_crash_left_after_the_end_of_its_job_is_an_orphan(
    database: Database, kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "ORPHAN_SECONDS", -60)
    crashed: AudioStore = request.getfixturevalue(kind)
    for priority in (0, 9):
        job_id = uuid7()
        await save(crashed, str(job_id))
        await enqueue(database, id=job_id, audio_key=str(job_id), priority=priority)
    [job] = await claim(database)
    await finish(database, job, SUCCESS, FORGET_AUDIO)
    assert set(await crashed.untouched(-60)) == {str(job.id), str(job_id)}
    await search_twice(Retention(database, crashed))
    assert await crashed.untouched(-60) == [str(job_id)]


async def test_the_next_sweep_erases_recordings_that_an_earlier_setting_kept(
    database: Database, store: LocalAudioStore
) -> None:
    await ended(database, store, days_ago=0)
    waiting = uuid7()
    await save(store, str(waiting))
    await enqueue(database, id=waiting, audio_key=str(waiting))
    await Retention(database, store).sweep()
    assert recordings(store) == {str(waiting)}


async def test_transcriptions_are_erased_completely_and_in_batches_after_the_configured_days(
    database: Database, store: LocalAudioStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "BATCH", 2)
    for _ in range(5):
        await ended(database, store, days_ago=30.01)
    new = await ended(database, store, days_ago=29.99)
    waiting = await enqueue(database)
    await Retention(database, store, keep_audio_days=90, keep_transcript_days=30).sweep()
    assert await rows(database) == {new, waiting.id}
    assert recordings(store) == {str(new)}
    async with database.transaction() as session:
        assert list(await session.exec(select(StoredTranscript.transcription_id))) == [new]


async def test_transcriptions_stay_until_their_receivers_are_notified(
    database: Database, store: LocalAudioStore
) -> None:
    job_id = await ended(database, store, days_ago=2, webhook_urls=["https://example.com/a", "https://example.com/b"])
    keeping = Retention(database, store, keep_audio_days=7, keep_transcript_days=1)
    for receiver in ("a", "b"):
        await keeping.sweep()
        assert await rows(database) == {job_id}
        deliver = "UPDATE delivery SET status = 'delivered', finished_at = now() WHERE url LIKE :url"
        await execute(database, deliver, url=f"%/{receiver}")
    await keeping.sweep()
    assert await rows(database) == set()


async def test_a_sweep_skips_a_job_that_another_transaction_has_locked(
    database: Database, store: LocalAudioStore
) -> None:
    job_id = await ended(database, store, days_ago=2)
    async with database.transaction() as session:
        await session.exec(select(Transcription).where(Transcription.id == job_id).with_for_update())
        await Retention(database, store, keep_transcript_days=1).sweep()
    assert await rows(database) == {job_id}


async def test_orphans_are_found_among_more_recordings_than_a_statement_has_parameters(
    database: Database, store: LocalAudioStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = await enqueue(database)
    orphans, erased = {str(uuid4()) for _ in range(33_000)}, set[str]()

    async def untouched(seconds: float) -> list[str]:
        return [*orphans, str(waiting.id)]

    async def delete(key: str) -> None:
        erased.add(key)

    monkeypatch.setattr(store, "untouched", untouched)
    monkeypatch.setattr(store, "delete", delete)
    async with database.transaction() as session:
        assert await erasure.needed_audio(session, await untouched(0)) == {str(waiting.id)}
    await search_twice(Retention(database, store))
    assert erased == orphans


async def test_orphans_are_erased_and_needed_recordings_are_kept(database: Database, store: LocalAudioStore) -> None:
    waiting, kept = uuid7(), await ended(database, store, days_ago=1)
    await save(store, str(waiting))
    await enqueue(database, id=waiting, audio_key=str(waiting))
    await save(store, str(uuid7()))
    (store.folder / "incoming" / str(uuid7())).write_bytes(b"half an upload")
    (store.folder / "incoming" / "README").write_bytes(b"somebody else's")
    age(store, 2 * retention.ORPHAN_SECONDS)
    arriving = str(uuid7())
    (store.folder / "incoming" / arriving).write_bytes(b"arriving")
    await search_twice(Retention(database, store, keep_audio_days=7))
    assert recordings(store) == {str(waiting), str(kept), "README", arriving}


async def test_a_recording_that_gets_its_job_between_two_searches_is_no_orphan(
    database: Database, store: LocalAudioStore
) -> None:
    """A bucket dates an object by the start of its upload, so an upload of more than an hour arrives looking old."""
    arrived, orphan = uuid7(), uuid7()
    searching = Retention(database, store)
    for key in (arrived, orphan):
        await save(store, str(key))
    age(store, 2 * retention.ORPHAN_SECONDS)
    await searching.erase_orphans()
    assert recordings(store) == {str(arrived), str(orphan)}
    await enqueue(database, id=arrived, audio_key=str(arrived))
    await searching.erase_orphans()
    assert recordings(store) == {str(arrived)}


async def test_a_store_that_cannot_be_searched_for_orphans_is_not_reported_as_database_trouble(
    database: Database, store: LocalAudioStore, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def untouched(seconds: float) -> list[str]:
        raise StoreUnavailable("SlowDown")

    monkeypatch.setattr(store, "untouched", untouched)
    await Retention(database, store).erase_orphans()
    logged = "".join(capsys.readouterr())
    assert "store not searched for orphans" in logged
    assert "SlowDown" in logged


class Refusing(LocalAudioStore):
    """Erases all recordings except `refused`."""

    refused: UUID | None = None

    async def delete(self, key: str) -> None:
        if key == str(self.refused):
            raise StoreUnavailable("SlowDown")
        await super().delete(key)


@pytest.mark.parametrize("keep_transcript_days", [None, 1])
async def test_a_recording_that_cannot_be_erased_stops_no_sweep_and_becomes_an_orphan(
    database: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str], keep_transcript_days: int | None
) -> None:
    store = Refusing(tmp_path / "audio")
    jobs = [await ended(database, store, days_ago=2) for _ in range(3)]
    age(store, 2 * retention.ORPHAN_SECONDS)
    sweeping = Retention(database, store, keep_transcript_days=keep_transcript_days)
    store.refused = jobs[0]
    await sweeping.sweep()
    assert recordings(store) == {str(jobs[0])}
    await save(store, str(uuid7()))
    age(store, 2 * retention.ORPHAN_SECONDS)
    await search_twice(sweeping)
    assert recordings(store) == {str(jobs[0])}
    logged = "".join(capsys.readouterr())
    assert "SlowDown" in logged
    assert [line for line in logged.splitlines() if "orphaned recording erased" in line and str(jobs[0]) in line] == []
    store.refused = None
    await sweeping.erase_orphans()
    assert recordings(store) == set()


async def test_both_recordings_of_a_redacted_call_are_erased_when_they_are_old(
    database: Database, store: LocalAudioStore
) -> None:
    job_id = await ended(database, store, days_ago=2)
    await save(store, "sent")
    await execute(database, "UPDATE transcription SET original_audio_key = 'sent', redacted_bytes = 1")
    keeping = Retention(database, store, keep_audio_days=3)
    await keeping.sweep()
    await keeping.erase_orphans()
    await keeping.erase_orphans()
    assert {path.name for path in files_in(store.folder)} >= {str(job_id), "sent"}
    await Retention(database, store, keep_audio_days=1).sweep()
    assert {path.name for path in files_in(store.folder)}.isdisjoint({str(job_id), "sent"})
    job = await read(database, job_id)
    assert (job.audio_key, job.original_audio_key) == (None, None)
