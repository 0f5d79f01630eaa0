"""Recordings of failed jobs stay for some days, so that an operator can look at them."""

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import pytest
from structlog.testing import capture_logs

from app.database.connections import Database
from app.jobs import changing
from app.jobs.ending import AtEnd
from app.jobs.events import event_of
from app.jobs.lifecycle import Failed, Outcome, Status
from app.jobs.retention import Retention
from app.jobs.views import TranscriptionOut
from app.storage.disk import FreeSpace
from app.storage.folder_store import LocalAudioStore
from testing.files import files_in
from testing.rows import SUCCESS, TESTER, claim, date_end, enqueue, finish, read

KEEP_FAILED = AtEnd(event_of, forget_audio=True, forget_failed_audio=False)
BROKEN = Failed("bad_media", "The recording is broken.")


@pytest.fixture
def store(tmp_path: Path) -> LocalAudioStore:
    return LocalAudioStore(tmp_path / "audio")


async def ended(
    database: Database, store: LocalAudioStore, outcome: Outcome, *, days_ago: float = 0.0, at_end: AtEnd = KEEP_FAILED
) -> UUID:
    async def stream() -> AsyncIterator[bytes]:
        yield b"call"

    job_id = (await enqueue(database)).id
    await store.save(str(job_id), stream(), 100)
    [job] = await claim(database)
    await finish(database, job, outcome, at_end)
    await date_end(database, job_id, days_ago)
    return job_id


def recordings(store: LocalAudioStore) -> set[str]:
    return {path.name for path in files_in(store.folder)}


async def test_only_a_failed_job_keeps_its_recording(database: Database, store: LocalAudioStore) -> None:
    failed, completed = await ended(database, store, BROKEN), await ended(database, store, SUCCESS)
    waiting = await enqueue(database)
    async with database.transaction() as session:
        cancelled = (await changing.request_cancel(session, waiting.id, TESTER, KEEP_FAILED)).job
    kept = await read(database, failed)
    assert (kept.audio_key, TranscriptionOut.of(kept).links.audio) == (
        str(failed),
        f"/v1/transcriptions/{failed}/audio",
    )
    assert [(await read(database, each)).audio_key for each in (completed, cancelled.id)] == [None, None]


@pytest.mark.parametrize(("keep_audio_days", "days"), [(0, 3), (7, 7)])
async def test_it_is_erased_after_its_days(
    database: Database, store: LocalAudioStore, keep_audio_days: int, days: int
) -> None:
    keeping = Retention(database, store, keep_audio_days=keep_audio_days, keep_failed_audio_days=3)
    old = await ended(database, store, BROKEN, days_ago=days + 0.01)
    new = await ended(database, store, BROKEN, days_ago=days - 0.01)
    assert not keeping.forgets_failed_audio
    await keeping.sweep()
    assert recordings(store) == {str(new)}
    assert (await read(database, old)).audio_key is None


async def test_a_completed_job_that_forgot_nothing_is_swept_by_its_own_days(
    database: Database, store: LocalAudioStore
) -> None:
    keep_all = AtEnd(event_of, forget_audio=False)
    failed = await ended(database, store, BROKEN, days_ago=2, at_end=keep_all)
    await ended(database, store, SUCCESS, days_ago=2, at_end=keep_all)
    await Retention(database, store, keep_audio_days=1, keep_failed_audio_days=3).sweep()
    assert recordings(store) == {str(failed)}


@pytest.mark.parametrize(("least", "kept"), [(0, True), (10**15, False)])
async def test_it_is_erased_early_if_the_disk_is_almost_full(
    database: Database, store: LocalAudioStore, least: int, kept: bool
) -> None:
    failed = await ended(database, store, BROKEN)
    space = FreeSpace((store.folder,), least)
    with capture_logs() as logs:
        await Retention(database, store, keep_failed_audio_days=3, free_space=space).sweep()
    assert (recordings(store) == {str(failed)}) is kept
    assert [line["erased"] for line in logs if line["log_level"] == "warning"] == ([] if kept else [1])


async def test_deleting_the_job_erases_it_immediately(database: Database, store: LocalAudioStore) -> None:
    failed = await ended(database, store, BROKEN)
    async with database.transaction() as session:
        job = await changing.erase(session, failed, TESTER)
    await Retention(database, store, keep_failed_audio_days=3).erase_audio(job.id, job.audio_key)
    assert recordings(store) == set()


async def test_without_days_nothing_is_kept(database: Database, store: LocalAudioStore) -> None:
    nothing = Retention(database, store)
    at_end = AtEnd(event_of, nothing.forgets_audio, nothing.forgets_failed_audio)
    failed = await ended(database, store, BROKEN, at_end=at_end)
    row = await read(database, failed)
    assert (row.status, row.audio_key) == (Status.FAILED, None)
