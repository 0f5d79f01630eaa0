"""Intake without HTTP: files of a folder and URLs become jobs through `Intake.receiving` and `Intake.accept` alone."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from app.access.callers import Caller
from app.database.connections import Database
from app.deliveries.outputs import Outputs
from app.deliveries.receivers import Receivers
from app.errors import (
    IdempotencyKeyReused,
    InvalidRequest,
    QueueFull,
    TooLarge,
    Unavailable,
    UnsupportedMedia,
    UrlNotAllowed,
)
from app.intake.ask import Accepted, Ask, Remote, Stored, fingerprint
from app.intake.intake import Intake, Limits
from app.intake.model_names import ModelNames
from app.intake.requests import CreateFromUrl, CreateTranscription
from app.jobs.changes import changing
from app.jobs.changes.queue_limit import QueueLimit
from app.network.guard import NetworkGuard
from app.sources.fetch import Fetcher
from app.sources.web import WebSource
from app.storage.disk import FreeSpace
from app.storage.folder_store import LocalAudioStore
from app.storage.store import StoredAudio, StoreUnavailable
from app.transcripts.transcript import Options
from testing.files import files_in
from testing.recordings import tone

FOLDER = Caller("folder", most_urgent=3)
URL = "https://127.0.0.1/call.wav"


class Inbox:
    """A small way in: the files of a folder. Each file is named after its call."""

    def __init__(self, intake: Intake, ask: Ask) -> None:
        self._intake = intake
        self._ask = ask

    async def take(self, file: Path) -> Accepted:
        content = await asyncio.to_thread(file.read_bytes)
        async with self._intake.receiving(FOLDER, file.name, len(content)) as save:
            audio = await save(_pieces(content))
        ask = replace(self._ask, external_id=file.stem)
        return await self._intake.accept(Stored(audio, file.name), ask, FOLDER, file.name)


async def _pieces(content: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(content), 1000):
        yield content[start : start + 1000]


@pytest.fixture
def store(tmp_path: Path) -> LocalAudioStore:
    return LocalAudioStore(tmp_path / "audio")


@pytest.fixture
def intake(database: Database, store: LocalAudioStore) -> Intake:
    guard, free_space = NetworkGuard([ip_network("127.0.0.0/8")]), FreeSpace((store.folder,), 0)
    fetcher = Fetcher({"https": WebSource(guard)}, store, free_space, max_bytes=100_000)
    limits = Limits(100_000, 60, QueueLimit(2))
    return Intake(database, store, fetcher, ModelNames(["base"]), Receivers(guard), Outputs(), free_space, limits)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return written(tmp_path, tone())


def written(folder: Path, content: bytes) -> Path:
    path = folder / "call-1.wav"
    path.write_bytes(content)
    return path


def kept(store: LocalAudioStore) -> list[str]:
    return [path.name for path in files_in(store.folder)]


async def test_a_file_of_a_folder_becomes_a_job(intake: Intake, store: LocalAudioStore, file: Path) -> None:
    accepted = await Inbox(intake, Ask(Options(model="base", channels="split"), priority=4)).take(file)
    job = accepted.job
    assert accepted.is_new
    assert (job.caller, job.external_id, job.filename, job.source) == ("folder", "call-1", "call-1.wav", "upload")
    assert (job.priority, job.options["channels"], job.bytes) == (4, "split", len(tone()))
    assert kept(store) == [str(job.id)] == [job.audio_key]


async def test_a_repeated_file_leads_to_its_first_job_and_is_not_kept_twice(
    intake: Intake, store: LocalAudioStore, file: Path
) -> None:
    inbox = Inbox(intake, Ask())
    first, again = await inbox.take(file), await inbox.take(file)
    assert (again.job.id, again.is_new) == (first.job.id, False)
    with pytest.raises(IdempotencyKeyReused):
        await Inbox(intake, Ask(metadata={"another": "request"})).take(file)
    assert kept(store) == [str(first.job.id)]


async def test_a_url_becomes_a_job_with_the_defaults(intake: Intake) -> None:
    accepted = await intake.accept(Remote(URL), Ask(), FOLDER)
    job = accepted.job
    assert (job.source, job.source_host, job.filename, job.audio_key) == (URL, "127.0.0.1:443", "call.wav", None)
    assert (job.options["model"], job.options["language"], job.priority) == ("base", None, 5)
    assert job.created_at == job.run_at


@pytest.mark.parametrize("ask", [Ask(Options(model="huge")), Ask(Options(model="", language="xx")), Ask(priority=0)])
async def test_a_refused_request_leaves_nothing(intake: Intake, store: LocalAudioStore, file: Path, ask: Ask) -> None:
    with pytest.raises(InvalidRequest):
        await Inbox(intake, ask).take(file)
    with pytest.raises(InvalidRequest):
        await intake.accept(Remote(URL), ask, FOLDER)
    assert kept(store) == []


async def test_a_refused_recording_leaves_nothing(intake: Intake, store: LocalAudioStore, tmp_path: Path) -> None:
    with pytest.raises(UrlNotAllowed):
        await intake.accept(Remote("ftp://127.0.0.1/call.wav"), Ask(), FOLDER)
    with pytest.raises(UnsupportedMedia):
        await Inbox(intake, Ask()).take(written(tmp_path, b"no recording"))
    with pytest.raises(TooLarge):
        await Inbox(intake, Ask()).take(written(tmp_path, b"x" * 100_001))
    assert kept(store) == []


async def test_a_way_in_that_fails_while_it_saves_leaves_nothing(intake: Intake, store: LocalAudioStore) -> None:
    async def save_and_fail() -> None:
        async with intake.receiving(FOLDER) as save:
            await save(_pieces(tone()))
            raise ConnectionError

    with pytest.raises(ConnectionError):
        await save_and_fail()
    assert kept(store) == []


async def test_a_full_queue_is_reported_before_a_byte_is_read(intake: Intake) -> None:
    for _ in range(2):
        await intake.accept(Remote(URL), Ask(), FOLDER)
    with pytest.raises(QueueFull):
        await intake.receiving(FOLDER).__aenter__()


def intake_of(database: Database, store: LocalAudioStore, model: str, min_free_bytes: int) -> Intake:
    guard, free_space = NetworkGuard([]), FreeSpace((store.folder,), min_free_bytes)
    fetcher = Fetcher({}, store, free_space, max_bytes=100_000)
    limits = Limits(100_000, 60, QueueLimit(1))
    return Intake(database, store, fetcher, ModelNames([model]), Receivers(guard), Outputs(), free_space, limits)


async def test_a_repetition_is_answered_after_the_disk_and_the_queue_are_full_and_the_settings_changed(
    database: Database, intake: Intake, store: LocalAudioStore, file: Path
) -> None:
    ask = Ask(Options(model="base"))
    first = await Inbox(intake, ask).take(file)
    remote = await intake.accept(Remote(URL), ask, FOLDER, "by-url")
    later = intake_of(database, store, "tiny.en", 1 << 62)
    again = await Inbox(later, ask).take(file)
    assert (again.job.id, again.is_new) == (first.job.id, False)
    again = await later.accept(Remote(URL), ask, FOLDER, "by-url")
    assert (again.job.id, again.is_new) == (remote.job.id, False)
    with pytest.raises(IdempotencyKeyReused):
        await Inbox(later, replace(ask, priority=9)).take(file)
    assert kept(store) == [str(first.job.id)]


async def test_a_key_whose_job_is_deleted_during_its_repetition_may_be_used_again(
    database: Database, intake: Intake, store: LocalAudioStore, file: Path
) -> None:
    first = await Inbox(intake, Ask()).take(file)
    async with intake.receiving(FOLDER, file.name) as save:
        audio = await save(_pieces(tone()))
        async with database.transaction() as session:
            await changing.erase(session, first.job.id, FOLDER)
    with pytest.raises(Unavailable):
        await intake.accept(Stored(audio, file.name), Ask(), FOLDER, file.name)
    assert (await Inbox(intake, Ask()).take(file)).is_new


async def test_a_store_that_cannot_erase_does_not_hide_why_a_recording_was_refused(
    intake: Intake, store: LocalAudioStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(key: str) -> None:
        raise StoreUnavailable("no answer")

    monkeypatch.setattr(store, "delete", fail)
    with capture_logs() as logs, pytest.raises(UnsupportedMedia):
        await Inbox(intake, Ask()).take(written(tmp_path, b"no recording"))
    assert [entry["event"] for entry in logs] == ["recording not erased"]


AUDIO = Stored(StoredAudio("key", 1, "ab"))
EVERYTHING = {
    "language": "de",
    "task": "translate",
    "model": "base",
    "channels": "split",
    "channel_labels": ["a", "b"],
    "word_timestamps": True,
    "prompt": "p",
    "hotwords": ["h"],
    "priority": 0,
    "external_id": "e",
    "metadata": {"k": [1, None, "ü"]},
    "webhook_url": "https://crm.example/1",
    "callback_url": ["https://crm.example/2"],
}


def test_fingerprints_are_the_same_as_in_earlier_versions() -> None:
    """A client may repeat a request to a service that was updated in between."""
    plain = "7ffd79624c1b35331ad3a0f2ca3c1aed642cfc512851af50c4657fcf70ae3225"
    assert fingerprint(AUDIO, CreateTranscription().ask(), "call.wav") == plain
    assert fingerprint(AUDIO, CreateTranscription(priority=5).ask(), "call.wav") == plain
    everything = CreateTranscription.model_validate(json.loads(json.dumps(EVERYTHING))).ask()
    assert fingerprint(AUDIO, everything, None) == "24f737896ceb688b58367a2e547b19eacf257b1b061a8e7c55d7570b890a7df9"
    remote = CreateFromUrl(url="https://calls.example/a.wav", webhook_url=["https://crm.example/1"])
    assert (
        fingerprint(Remote(remote.url), remote.ask(), "a.wav")
        == "6920188e3428a61941ababe9d535b3e3783f682de00dcc727015351a088f72be"
    )
