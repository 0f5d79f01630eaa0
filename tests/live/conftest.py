"""Live calls over a real database, a real store and real files. The engine is a double that hears every second."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from ipaddress import ip_network
from pathlib import Path

import pytest

from app.access.callers import Caller
from app.database.connections import Database
from app.database.notifications import Signals
from app.deliveries.outputs import Outputs
from app.deliveries.receivers import Receivers
from app.intake.ask import Ask
from app.intake.intake import Intake, Limits
from app.intake.model_names import ModelNames
from app.jobs.changes.queue_limit import QueueLimit
from app.live.asking import NewCall
from app.live.calls import LiveCalls
from app.live.events import LiveEvent
from app.live.following import Following
from app.live.spool import Spools
from app.network.guard import NetworkGuard
from app.process.shares import Shares
from app.sources.fetch import Fetcher
from app.speech.engine import EngineConfig
from app.storage.disk import FreeSpace
from app.storage.folder_store import LocalAudioStore
from app.storage.workspace import Workspace
from testing.engine_double import EngineDouble

CRM = Caller("crm")


@dataclass
class Heard:
    """What a client of a live call is told."""

    events: list[LiveEvent] = field(default_factory=list)

    def __call__(self, event: LiveEvent) -> None:
        self.events.append(event)

    @property
    def kinds(self) -> list[str]:
        return [event.kind for event in self.events]


@dataclass
class Live:
    """Live calls of one process, and the parts that a test looks into."""

    calls: LiveCalls
    store: LocalAudioStore
    spools: Path
    following: Following

    async def open(self, new: NewCall, heard: Heard | None = None, caller: Caller = CRM):  # type: ignore[no-untyped-def]
        return await self.calls.open(caller, new, Heard() if heard is None else heard)


Make = Callable[..., Live]


def asked(**values: object) -> NewCall:
    from app.audio.live_sound import Sound

    return NewCall(**{"sound": Sound("mulaw", 8000, 1), "ask": Ask(), "dialect": "own", **values})  # type: ignore[arg-type]


@pytest.fixture
async def make(database: Database, tmp_path: Path) -> AsyncIterator[Make]:
    """Makes the live calls of a process. All of them share the disk and the database."""
    workspaces = []

    def make(most: int | None = None, *, resumes: bool = True, pending: int = 100, max_seconds: float = 60) -> Live:
        store = LocalAudioStore(tmp_path / "audio")
        guard, free_space, shares = NetworkGuard([ip_network("127.0.0.0/8")]), FreeSpace((tmp_path,), 0), Shares()
        fetcher = Fetcher({}, store, free_space, max_bytes=1_000_000)
        limits = Limits(1_000_000, max_seconds, QueueLimit(pending))
        models = ModelNames(["base"])
        intake = Intake(database, store, fetcher, models, Receivers(guard), Outputs(), free_space, limits)
        engine = EngineDouble(EngineConfig(("base",), tmp_path), shares)
        engine.load()
        workspaces.append(workspace := Workspace(tmp_path / "work"))
        spools = tmp_path / "live"
        calls = LiveCalls(
            database,
            intake,
            engine,
            Spools(spools),
            workspace,
            free_space,
            most=most,
            shares=shares,
            resumes=resumes,
        )
        return Live(calls, store, spools, Following(database, Signals(database)))

    yield make
    for workspace in workspaces:
        workspace.close()
