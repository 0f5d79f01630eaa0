"""A watched folder in this process, on the real database. A test looks at it once, instead of waiting for the clock."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from app.access.callers import Caller
from app.database.connections import Database
from app.deliveries.outputs import Outputs
from app.deliveries.receivers import Receivers
from app.intake.folder.opening import WatchOptions, open_watch
from app.intake.folder.place import Place
from app.intake.folder.watching import FolderWatch
from app.intake.intake import Intake, Limits
from app.intake.model_names import ModelNames
from app.jobs.changes import changing
from app.jobs.changes.queue_limit import QueueLimit
from app.jobs.models import Transcription
from app.jobs.reads.listing import Wanted
from app.jobs.reads.reading import Reader
from app.network.guard import NetworkGuard
from app.sources.fetch import Fetcher
from app.storage.disk import FreeSpace
from app.storage.folder_store import LocalAudioStore
from testing.recordings import tone
from testing.rows import FORGET_AUDIO

ANYBODY = Caller("anybody")


@dataclass
class Site:
    """A watched folder, and everything that is written for it. `restart` gives the watch of another process."""

    root: Path
    output: Path
    database: Database
    store: LocalAudioStore
    open: Callable[[WatchOptions], FolderWatch]
    options: WatchOptions
    watch: FolderWatch

    def restart(self, **changes: Any) -> None:
        self.options = replace(self.options, **changes)
        self.watch = self.open(self.options)

    def drop(self, name: str | bytes, content: bytes | None = None, *, age: float = 3600.0) -> Path:
        """Puts a file into the folder that was last written `age` seconds ago. It is a short tone by default."""
        path = self.root / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(tone() if content is None else content)
        os.utime(path, (time.time() - age,) * 2)
        return path

    async def look(self) -> None:
        await self.watch.look()
        await self.watch.rest()

    async def jobs(self) -> list[Transcription]:
        """Returns all jobs, the oldest first."""
        page = await Reader(self.database).page(Wanted(limit=100), ANYBODY)
        return [read.job for read in reversed(page.items)]

    async def delete(self, job: Transcription) -> None:
        async with self.database.transaction() as session:
            await changing.erase(session, job.id, ANYBODY)

    @property
    def files(self) -> list[str]:
        """Returns the paths of all files in the folder, also of hidden ones."""
        return [file for file in files_below(self.root) if file != ".accepted/.database"]


def files_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())


@pytest.fixture
def site(database: Database, tmp_path: Path) -> Site:
    root, output, store = tmp_path / "in", tmp_path / "out", LocalAudioStore(tmp_path / "audio")
    for folder in (root, output):
        folder.mkdir()
    guard, free_space = NetworkGuard([ip_network("127.0.0.0/8")]), FreeSpace((store.folder,), 0)
    fetcher = Fetcher({}, store, free_space, max_bytes=100_000)
    limits = Limits(100_000, 60, QueueLimit(20))
    intake = Intake(database, store, fetcher, ModelNames(["base"]), Receivers(guard), Outputs(), free_space, limits)
    options = WatchOptions(root, 5.0, output=output)

    def opened(options: WatchOptions) -> FolderWatch:
        return open_watch(options, intake, database, FORGET_AUDIO)

    Place(root).prepare()
    return Site(root, output, database, store, opened, options, opened(options))
