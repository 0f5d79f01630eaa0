"""Puts the watch of a folder together, from plain values. Checks before the start that it can work."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app.database.connections import Database
from app.deliveries.outputs import Output
from app.intake.folder.asking import Asking
from app.intake.folder.clearing import Clearing
from app.intake.folder.disk import Disk
from app.intake.folder.names import Parts, numbered, stem
from app.intake.folder.place import Place
from app.intake.folder.settling import Settling
from app.intake.folder.taking import Taker
from app.intake.folder.watching import FolderWatch
from app.intake.intake import Intake
from app.jobs.claims.ending import AtEnd
from app.storage.file_url import file_url
from app.transcripts.formats import Format, endings


@dataclass(frozen=True)
class WatchOptions:
    """What an operator says about a watched folder. `output` is a folder, without links in its path, or None."""

    root: Path
    settle_seconds: float
    options: Mapping[str, Any] = field(default_factory=dict)
    keep: bool = False
    output: Path | None = None
    formats: tuple[Format, ...] = (Format.WHISPER,)

    def output_of(self, parts: Parts) -> Output | None:
        """Where the outputs of a recording go: to its path below the folder, with another ending."""
        if self.output is None:
            return None
        longest = max(len(f".{ending}") for ending in endings(self.formats).values())
        name = numbered(stem(parts[-1]), 1, longest)
        return Output(file_url(self.output.joinpath(*parts[:-1], name)), self.formats)


def open_watch(watched: WatchOptions, intake: Intake, database: Database, at_end: AtEnd) -> FolderWatch:
    disk, settling = Disk(Place(watched.root)), Settling(watched.settle_seconds)
    asking = Asking.checked(watched.options)
    taker = Taker(disk, settling, asking, intake, database, at_end, watched.output_of)
    clearing = Clearing(disk, database, keep=watched.keep)
    return FolderWatch(disk, settling, taker, clearing, database, intake.limits.queue.pending)
