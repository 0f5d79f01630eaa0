"""Finds the recordings of a watched folder that may be taken now, in slices, so that 100,000 files cost little memory.

A scan is the truth about the folder. Notifications of changes only wake it, because network mounts send none.
"""

import heapq
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice

from app.intake.folder.names import Parts, Seen, is_recording, is_side_file, is_watched_folder
from app.intake.folder.place import Gone, Place
from app.intake.folder.settling import Settling

SLICE = 1000  # files between two looks at the time limit of a thread
MOST_CANDIDATES = 200
DEEPEST = 32
LEFT_SECONDS = 24 * 3600.0  # after that, a side file whose recording never came is reported

Seconds = float


@dataclass
class Found:
    """What a scan has found so far: the oldest complete recordings, and for how long they have waited.

    `next_seconds` is when the next file can be complete. `folders` has no hidden ones.
    """

    candidates: list[Seen] = field(default_factory=list)
    waiting: int = 0
    oldest_seconds: Seconds = 0.0
    next_seconds: Seconds | None = None
    left_side_files: int = 0
    closed_folders: int = 0
    folders: list[Parts] = field(default_factory=list)


class Scan:
    """One scan. `step` blocks for one slice, and returns False after the last one.

    `unchanged_seconds` says for how long a file has not changed in earlier scans. `is_paused` says of a file that it is
    not to be tried now.
    """

    def __init__(
        self,
        place: Place,
        settling: Settling,
        now_ns: int,
        unchanged_seconds: Callable[[Seen], Seconds],
        is_paused: Callable[[Seen], bool],
    ) -> None:
        self._place = place
        self._settling = settling
        self._now_ns = now_ns
        self._unchanged_seconds = unchanged_seconds
        self._is_paused = is_paused
        self._oldest: list[tuple[int, Parts, Seen]] = []  # a heap whose first item is the newest of the oldest
        self._files = self._walk()
        self.found = Found()

    def step(self) -> bool:
        files = list(islice(self._files, SLICE))
        for seen in files:
            self._look_at(seen)
        if len(files) == SLICE:
            return True
        self.found.candidates = [seen for _, _, seen in sorted(self._oldest, reverse=True)]
        return False

    def _look_at(self, seen: Seen) -> None:
        found, age = self.found, (self._now_ns - max(seen.mtime_ns, seen.ctime_ns)) / 1e9
        if not is_recording(seen.name):
            found.left_side_files += is_side_file(seen.name) and age > LEFT_SECONDS
            return
        missing = self._settling.missing_seconds(seen, self._now_ns)
        if missing > 0:
            missing = self._settling.missing_seconds(seen, self._now_ns, self._unchanged_seconds(seen))
        if missing > 0:
            found.next_seconds = min(missing, found.next_seconds or missing)
            return
        found.waiting += 1
        found.oldest_seconds = max(found.oldest_seconds, age)
        if self._is_paused(seen):
            return
        item = (-seen.mtime_ns, seen.parts, seen)
        if len(self._oldest) < MOST_CANDIDATES:
            heapq.heappush(self._oldest, item)
        else:
            heapq.heappushpop(self._oldest, item)

    def _walk(self) -> Iterator[Seen]:
        folders: list[Parts] = [()]
        while folders:
            parts = folders.pop()
            self.found.folders.append(parts)
            try:
                with suppress(Gone), self._place.folder(parts) as folder, os.scandir(folder) as entries:
                    yield from self._files_of(parts, entries, folders)
            except PermissionError:
                if not parts:
                    raise
                self.found.closed_folders += 1

    def _files_of(self, parts: Parts, entries: Iterable[os.DirEntry[str]], folders: list[Parts]) -> Iterator[Seen]:
        for entry in entries:
            with suppress(FileNotFoundError):
                if entry.is_dir(follow_symlinks=False):
                    if is_watched_folder(entry.name) and len(parts) < DEEPEST:
                        folders.append((*parts, entry.name))
                elif entry.is_file(follow_symlinks=False):
                    yield Seen.of((*parts, entry.name), entry.stat(follow_symlinks=False))
