"""Recordings of failed and cancelled jobs stay for some days, so that somebody can look at them or retry the jobs."""

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import pytest
from structlog.testing import capture_logs

from app.database.connections import Database
from app.errors import Abandoned, AppError
from app.jobs.changes import changing
from app.jobs.claims.ending import AtEnd
from app.jobs.events import event_of
from app.jobs.lifecycle import Cancelled, Failed, Outcome, Status
from app.jobs.models import audio_keys
from app.jobs.upkeep.retention import Retention
from app.jobs.views import TranscriptionOut
from app.storage.disk import FreeSpace
from app.storage.folder_store import LocalAudioStore
from testing.files import files_in
from testing.rows import SUCCESS, TESTER, claim, date_end, enqueue, expire_leases, finish, read, take_back_lost

KEEP_FAILED = AtEnd(event_of, forget_audio=True, forget_failed_audio=False)
BROKEN = Failed("bad_media", "The recording is broken.")
HUNG_UP = Abandoned("It hung up.")


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


async def cancelled(database: Database, *, why: AppError | None = None, at_end: AtEnd = KEEP_FAILED) -> UUID:
    """A job that was cancelled while it waited."""
    waiting = await enqueue(database)
    async with database.transaction() as session:
        written = await changing.request_cancel(session, waiting.id, TESTER, at_end, why=why)
    assert bool(written.forgotten_audio) is (written.job.audio_key is None)
    return waiting.id


async def test_a_failed_job_and_one_that_a_client_cancelled_keep_their_recordings(
    database: Database, store: LocalAudioStore
) -> None:
    kept = [
        await ended(database, store, BROKEN),
        await ended(database, store, Cancelled()),
        await cancelled(database),
    ]
    for each in kept:
        job = await read(database, each)
        assert (job.audio_key, TranscriptionOut.of(job).links.audio) == (str(each), f"/v1/transcriptions/{each}/audio")
    gone = [await ended(database, store, SUCCESS), await cancelled(database, why=HUNG_UP)]
    assert [(await read(database, each)).audio_key for each in gone] == [None, None]


async def test_an_abandoned_job_whose_worker_was_lost_does_not_keep_its_recording(database: Database) -> None:
    job = await enqueue(database)
    await claim(database)
    async with database.transaction() as session:
        await changing.request_cancel(session, job.id, TESTER, KEEP_FAILED, why=HUNG_UP)
    await expire_leases(database)
    [written] = await take_back_lost(database, KEEP_FAILED)
    assert (written.job.status, written.job.error_code, written.job.error_message) == (
        Status.CANCELLED,
        "abandoned",
        "It hung up.",
    )
    assert (written.forgotten_audio, written.job.audio_key) == ([job.audio_key], None)


@pytest.mark.parametrize("outcome", [BROKEN, Cancelled()])
@pytest.mark.parametrize(("keep_audio_days", "days"), [(0, 3), (7, 7)])
async def test_it_is_erased_after_its_days(
    database: Database, store: LocalAudioStore, keep_audio_days: int, days: int, outcome: Outcome
) -> None:
    keeping = Retention(database, store, keep_audio_days=keep_audio_days, keep_failed_audio_days=3)
    old = await ended(database, store, outcome, days_ago=days + 0.01)
    new = await ended(database, store, outcome, days_ago=days - 0.01)
    assert not keeping.forgets_failed_audio
    await keeping.sweep()
    assert recordings(store) == {str(new)}
    assert (await read(database, old)).audio_key is None


async def test_completed_and_abandoned_jobs_that_forgot_nothing_are_swept_by_their_own_days(
    database: Database, store: LocalAudioStore
) -> None:
    keep_all = AtEnd(event_of, forget_audio=False)
    failed = await ended(database, store, BROKEN, days_ago=2, at_end=keep_all)
    stopped = await ended(database, store, Cancelled(), days_ago=2, at_end=keep_all)
    await ended(database, store, SUCCESS, days_ago=2, at_end=keep_all)
    abandoned = await cancelled(database, why=HUNG_UP, at_end=keep_all)
    await date_end(database, abandoned, days_ago=2)
    await Retention(database, store, keep_audio_days=1, keep_failed_audio_days=3).sweep()
    assert recordings(store) == {str(failed), str(stopped)}
    assert (await read(database, abandoned)).audio_key is None


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
    await Retention(database, store, keep_failed_audio_days=3).erase_audio(job.id, audio_keys(job))
    assert recordings(store) == set()


async def test_without_days_nothing_is_kept(database: Database, store: LocalAudioStore) -> None:
    nothing = Retention(database, store)
    at_end = AtEnd(event_of, nothing.forgets_audio, nothing.forgets_failed_audio)
    failed = await ended(database, store, BROKEN, at_end=at_end)
    row = await read(database, failed)
    assert (row.status, row.audio_key) == (Status.FAILED, None)
