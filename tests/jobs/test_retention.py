"""What is kept after a job's end, and what the sweeps erase."""

import os
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func
from sqlmodel import col, select, update
from uuid_utils.compat import uuid7

from app.audio.folder_store import LocalAudioStore
from app.db import Database
from app.jobs import erasure, queue, retention
from app.jobs.lifecycle import Status
from app.jobs.models import StoredTranscript, Transcription
from app.jobs.retention import Retention
from tests.jobs.rows import SUCCESS, claim, enqueue, execute, finish, read

CONTENT = b"a recording"


@pytest.fixture
def store(tmp_path: Path) -> LocalAudioStore:
    return LocalAudioStore(tmp_path / "audio")


async def save(store: LocalAudioStore, key: str) -> None:
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
    async with database.transaction() as session:
        at = func.now() - timedelta(days=days_ago)
        await session.exec(update(Transcription).where(col(Transcription.id) == job_id).values(completed_at=at))
    return job_id


def recordings(store: LocalAudioStore) -> set[str]:
    return {path.name for path in store.folder.rglob("[!.]*") if path.is_file()}


def age(store: LocalAudioStore, seconds: float) -> None:
    for path in store.folder.rglob("[!.]*"):
        if path.is_file():
            os.utime(path, (time.time() - seconds, time.time() - seconds))


async def rows(database: Database) -> set[UUID]:
    async with database.transaction() as session:
        return set(await session.exec(select(Transcription.id)))


async def test_recordings_are_kept_as_long_as_they_are_to_be(database: Database, store: LocalAudioStore) -> None:
    old = await ended(database, store, days_ago=7.01)
    new = await ended(database, store, days_ago=6.99)
    keeping = Retention(database, store, keep_audio_days=7)
    for job_id in (old, new):
        await keeping.ended(await read(database, job_id))
    assert recordings(store) == {str(old), str(new)}
    await keeping.sweep()
    assert recordings(store) == {str(new)}
    assert (await read(database, old)).audio_key is None
    assert await rows(database) == {old, new}


async def test_without_days_a_recording_goes_with_its_jobs_end(database: Database, store: LocalAudioStore) -> None:
    job_id = await ended(database, store, days_ago=0)
    await Retention(database, store).ended(await read(database, job_id))
    assert recordings(store) == set()


async def test_a_recording_whose_erasing_failed_goes_with_the_next_sweep(
    database: Database, store: LocalAudioStore
) -> None:
    await ended(database, store, days_ago=0)
    waiting = uuid7()
    await save(store, str(waiting))
    await enqueue(database, id=waiting, audio_key=str(waiting))
    await Retention(database, store).sweep()
    assert recordings(store) == {str(waiting)}


async def test_transcriptions_are_erased_whole_after_their_days_batch_by_batch(
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


async def test_transcriptions_stay_until_their_receivers_are_told(database: Database, store: LocalAudioStore) -> None:
    job_id = await ended(database, store, days_ago=2, webhook_urls=["https://example.com/a", "https://example.com/b"])
    keeping = Retention(database, store, keep_audio_days=7, keep_transcript_days=1)
    for told in ("a", "b"):
        await keeping.sweep()
        assert await rows(database) == {job_id}
        rest = "UPDATE delivery SET status = 'delivered', finished_at = now() WHERE url LIKE :url"
        await execute(database, rest, url=f"%/{told}")
    await keeping.sweep()
    assert await rows(database) == set()


async def test_sweeps_pass_over_what_another_has_in_hand(database: Database, store: LocalAudioStore) -> None:
    job_id = await ended(database, store, days_ago=2)
    async with database.transaction() as session:
        await queue.lock(session, job_id)
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
    await Retention(database, store).erase_orphans()
    assert erased == orphans


async def test_orphans_are_erased_and_what_is_needed_kept(database: Database, store: LocalAudioStore) -> None:
    waiting, kept = uuid7(), await ended(database, store, days_ago=1)
    await save(store, str(waiting))
    await enqueue(database, id=waiting, audio_key=str(waiting))
    await save(store, str(uuid7()))
    (store.folder / "incoming" / str(uuid7())).write_bytes(b"half an upload")
    (store.folder / "incoming" / "README").write_bytes(b"somebody else's")
    age(store, 2 * retention.ORPHAN_SECONDS)
    arriving = str(uuid7())
    (store.folder / "incoming" / arriving).write_bytes(b"arriving")
    await Retention(database, store, keep_audio_days=7).erase_orphans()
    assert recordings(store) == {str(waiting), str(kept), "README", arriving}
