"""The parts of a process together."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import pytest

from app import service
from app.database.connections import Database
from app.jobs.lifecycle import Status
from app.jobs.topics import changed_topic
from app.jobs.worker import executor
from app.jobs.worker import recording as job_recording
from app.service import assemble_service, open_parts
from app.settings import Settings
from app.storage.folder_store import MARKER
from app.storage.store import StoreUnavailable
from app.transcripts.transcript import Options
from testing import engine_double as double
from testing.recordings import tone
from testing.rows import enqueue, read


@pytest.mark.parametrize(
    ("settings", "callers"),
    [
        ({}, 1),
        ({"api_keys": {"crm": ("a",)}}, 1),
        ({"api_keys": {"crm": ("a",), "desk": ("b",)}}, 2),
        ({"api_keys": {"crm": ("a",)}, "redis_url": "redis://127.0.0.1", "watch": True}, 3),
    ],
)
async def test_the_folder_and_the_stream_share_the_queue_with_the_keys(
    database: Database, tmp_path: Path, settings: dict[str, Any], callers: int
) -> None:
    (tmp_path / "in").mkdir()
    given = settings | ({"watch": tmp_path / "in"} if "watch" in settings else {})
    chosen = Settings(data_dir=tmp_path / "data", database_url=database.address.text, **given)
    async with open_parts(chosen, executor=False) as parts:
        assembled = assemble_service(chosen, parts, database)
    assert assembled.intake.limits.queue_of("crm").keys == callers


@pytest.mark.parametrize("in_use", [False, True])
async def test_a_folder_without_its_marker_counts_as_new_only_if_no_job_has_a_recording(
    database: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str], *, in_use: bool
) -> None:
    if in_use:
        await enqueue(database)
    address = database.address.text
    async with open_parts(Settings(data_dir=tmp_path, database_url=address), executor=False) as parts:
        with pytest.raises(StoreUnavailable, match=MARKER) if in_use else nullcontext():
            await parts.store.check()
    assert (tmp_path / "audio" / MARKER).exists() is not in_use
    reported = [line for line in "".join(capsys.readouterr()).splitlines() if "has no mark" in line]
    assert [str(tmp_path / "audio") in line for line in reported] == [True] * in_use


async def test_a_process_ends_as_soon_as_its_engine_ends(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def recording() -> AsyncIterator[bytes]:
        yield tone()

    monkeypatch.setattr(service, "Engine", double.EngineDouble)
    monkeypatch.setattr(executor, "WATCH_SECONDS", 3600)
    monkeypatch.setattr(job_recording, "decode", double.decode)
    address = database.address.text
    async with open_parts(Settings(data_dir=tmp_path, database_url=address), executor=True) as parts:
        audio = await parts.store.save("call", recording(), 1_000_000)
        job = await enqueue(database, audio_key=audio.key, options=Options(model="base", prompt="device"))
        await asyncio.wait_for(parts.shutdown.requested.wait(), 30)
    assert parts.shutdown.failed
    back = await read(database, job.id)
    assert (back.status, back.crashes, back.attempts) == (Status.PENDING, 1, 1)


@pytest.mark.parametrize(
    ("grace_seconds", "prompt", "status", "attempts"),
    [(0, "hang", Status.PENDING, 0), (30, "sleep 0.3", Status.COMPLETED, 1)],
    ids=["given back", "completed"],
)
async def test_running_jobs_get_the_grace_period_of_the_settings(
    database: Database,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    grace_seconds: float,
    prompt: str,
    status: Status,
    attempts: int,
) -> None:
    async def recording() -> AsyncIterator[bytes]:
        yield tone()

    monkeypatch.setattr(service, "Engine", double.EngineDouble)
    address = database.address.text
    settings = Settings(data_dir=tmp_path, database_url=address, shutdown_grace_seconds=grace_seconds)
    async with open_parts(settings, executor=True) as parts:
        audio = await parts.store.save("call", recording(), 1_000_000)
        job = await enqueue(database, audio_key=audio.key, options=Options(model="base", prompt=prompt))
        with parts.signals.subscribe(changed_topic(job.id)) as changed:
            async with asyncio.timeout(30):
                while (await read(database, job.id)).status == Status.PENDING:
                    with suppress(TimeoutError):  # the first notification may come before the process listens
                        await asyncio.wait_for(changed.wait(), 0.1)
    ended = await read(database, job.id)
    assert (ended.status, ended.attempts) == (status, attempts)
