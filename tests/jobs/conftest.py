"""A worker with its store and database, the clock that it reads, and a server that it fetches recordings from."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.database.connections import Database
from app.database.notifications import Signals
from app.jobs.worker import runner
from app.storage.folder_store import LocalAudioStore
from testing.job_bench import Bench, Clock, EngineDouble
from testing.origin import Origin, answering, half_and_hang
from testing.recordings import tone
from testing.service import eventually


@pytest.fixture
def bench(database: Database, tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(database, LocalAudioStore(tmp_path / "audio"), Signals(database), EngineDouble())
    yield bench
    bench.workspace.close()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock that a worker reads."""
    clock = Clock()
    monkeypatch.setattr(runner, "time", clock)
    return clock


@pytest.fixture
def origin() -> Iterator[Origin]:
    with answering() as origin:
        origin.answers["/call.wav"] = lambda exchange: exchange.whole(tone())
        origin.answers["/hanging.wav"] = half_and_hang
        yield origin


async def asked(origin: Origin, path: str, times: int = 1) -> None:
    """Wait until the server has had `times` requests for the path."""
    await asyncio.to_thread(eventually, lambda: len(origin.headers_of(path)) == times)
