"""Watches a folder: looks at it again and again, takes what is complete, and clears away what has ended.

Every process of the service may watch the same folder. What the folder and the database say is the truth; this process
remembers only pauses.
"""

import asyncio
import time
from collections.abc import Coroutine, Sequence
from contextlib import closing, suppress
from functools import partial
from typing import Any
from uuid import UUID

import structlog

from app.database.connections import DATABASE_TROUBLE, Database, is_bad_data
from app.errors import AppError, IntakePaused
from app.intake.folder.alarm import Alarm
from app.intake.folder.clearing import Clearing
from app.intake.folder.disk import Disk, Unreadable
from app.intake.folder.memory import Memory
from app.intake.folder.names import Seen, shown
from app.intake.folder.owner import require_owner
from app.intake.folder.place import FolderUnavailable
from app.intake.folder.scanning import Found, Scan
from app.intake.folder.settling import Settling
from app.intake.folder.taking import FOLDER, NotYet, Taker
from app.intake.folder.takings import Takings
from app.jobs.changes import followed
from app.process.tasks import within

SCAN_SECONDS = 10.0
LEAST_SECONDS = 0.5  # between two scans, however many changes are reported
SCAN_SHARE = 4  # a scan that takes long is followed by a pause that is so many times as long
MOST_WAITING = 500  # jobs of the folder: the others wait in the folder, where they take no second place on a disk
TROUBLE_SECONDS = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
LONG_SECONDS = 15 * 60.0

log = structlog.stdlib.get_logger("callscribe.watch")


class FolderWatch:
    """The watch of one folder. `trouble` says what an operator should know, or is None.

    `most_pending` is how many jobs of all callers may wait. The folder uses at most half of that.
    """

    def __init__(
        self,
        disk: Disk,
        settling: Settling,
        taker: Taker,
        clearing: Clearing,
        database: Database,
        most_pending: int,
    ) -> None:
        self._disk = disk
        self._settling = settling
        self._taker = taker
        self._clearing = clearing
        self._database = database
        self._most_waiting = max(1, min(MOST_WAITING, most_pending // 2))
        self._memory = Memory()
        self._stopped_by: str | None = None
        self._found = Found()
        self._has_more = False
        self._now_ns = 0
        self._owner: UUID | None = None
        self._scan_seconds = 0.0
        self._takings = Takings(self._take)
        self._stopping, self._ended = asyncio.Event(), asyncio.Event()

    @property
    def trouble(self) -> str | None:
        """What keeps recordings in the folder."""
        found, failures = self._found, self._memory.failures
        facts = [self._stopped_by] if self._stopped_by else []
        facts += [f"{len(failures)} files cannot be taken, such as: {failures[0]}"] if failures else []
        if found.oldest_seconds > LONG_SECONDS:
            facts.append(f"{found.waiting} recordings wait, the oldest for {found.oldest_seconds / 60:.0f} minutes")
        facts += [f"{found.closed_folders} folders cannot be read"] if found.closed_folders else []
        facts += [f"{found.left_side_files} side files lie there without a recording"] if found.left_side_files else []
        return "; ".join(facts) or None

    async def run(self) -> None:
        """Watch until `drain` is called."""
        troubles = 0
        try:
            with closing(Alarm()) as alarm:
                while not self._stopping.is_set():
                    try:
                        self._takings.raise_error()
                        await self.look()
                        alarm.watch([self._disk.place.root.joinpath(*parts) for parts in self._found.folders])
                        troubles, self._stopped_by = 0, None
                        pause = self._pause_seconds()
                    except (AppError, FolderUnavailable, Unreadable, *DATABASE_TROUBLE) as error:
                        pause, troubles = _pause_after(error, troubles), troubles + 1
                        self._report(error)
                    took = self._scan_seconds
                    await self._sleep(max(LEAST_SECONDS, SCAN_SHARE * took if took > 1 else 0))
                    await self._sleep(pause, alarm.rung(), self._wait_for_takings())
                await self._takings.drain()
        finally:
            self._takings.cancel()
            self._ended.set()

    async def _wait_for_takings(self) -> None:
        """Wait until a look at the folder is needed, because files were left out or all of them are in trouble."""
        await self._takings.changed.wait()
        self._takings.changed.clear()
        if not (self._has_more or self._takings.failed):
            await asyncio.Event().wait()

    async def _sleep(self, seconds: float, *events: Coroutine[Any, Any, None]) -> None:
        """Wait for `seconds`, or for one of the events, or until the watch has to end."""
        waits: list[asyncio.Task[Any]] = [asyncio.create_task(self._stopping.wait())]
        waits += [asyncio.create_task(event) for event in events]
        try:
            await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waits:
                task.cancel()

    async def drain(self, grace_seconds: float) -> None:
        """Take no more files, and wait up to `grace_seconds` for those that are being taken."""
        self._stopping.set()
        with suppress(TimeoutError):
            await within(grace_seconds, self._ended.wait())

    async def idle(self) -> None:
        """Wait until no file is being taken. One that is interrupted is taken by the next process."""
        await self._ended.wait()

    def _report(self, error: Exception) -> None:
        reason = error.reason if isinstance(error, AppError) else _why(error)
        if reason != self._stopped_by:
            log.warning("recordings wait in the folder", why=reason)
        self._stopped_by = reason

    def _pause_seconds(self) -> float:
        """Until the next file may be complete, but never longer than a scan may be away."""
        nexts = [SCAN_SECONDS, self._found.next_seconds, self._memory.next_try_seconds()]
        return max(0.0, min(seconds for seconds in nexts if seconds is not None))

    async def look(self) -> None:
        """Look once at everything, and begin to take what is complete. Raises what concerns all recordings."""
        self._has_more = False
        started = time.monotonic()
        if self._owner is None:
            async with self._database.transaction() as session:
                self._owner = await followed.installation(session)
        await self._disk.run(partial(require_owner, self._disk.place, self._owner))
        await self._clearing.run()  # first, because it makes room on a full disk
        self._now_ns = await self._disk.run(self._disk.place.now_ns)
        unchanged, settling = self._memory.unchanged_seconds, self._settling
        scan = Scan(self._disk.place, settling, self._now_ns, unchanged, self._is_not_to_be_tried)
        while await self._disk.run(scan.step):
            pass
        self._found = found = scan.found
        self._scan_seconds = time.monotonic() - started
        self._takings.offer(await self._new(found.candidates))

    async def rest(self) -> None:
        """Wait until everything that the last look found is taken. Raises what concerns all recordings."""
        await self._takings.rest()
        self._takings.raise_error()

    def _is_not_to_be_tried(self, seen: Seen) -> bool:
        return self._memory.is_paused(seen) or self._takings.has(seen)

    async def _new(self, candidates: Sequence[Seen]) -> list[Seen]:
        """Move those that have a job already, as after a crash. Returns the others, as many as may become jobs now."""
        if not candidates:
            return []
        keys = [seen.identity for seen in candidates]
        async with self._database.transaction() as session:
            jobs = await followed.by_keys(session, FOLDER.name, keys)
            erased = await followed.erased_keys(session, keys)
            waiting = await followed.waiting(session, FOLDER.name, self._most_waiting)
        for seen, key in zip(candidates, keys, strict=True):
            try:
                if key in jobs:
                    await self._taker.move(seen, jobs[key])
                elif key in erased:
                    await self._taker.erase(seen)
            except Unreadable as error:
                self._failed(seen, str(error))
        known = jobs.keys() | erased
        new = [seen for seen, key in zip(candidates, keys, strict=True) if key not in known]
        free = max(0, self._most_waiting - waiting - len(self._takings))
        self._has_more = self._found.waiting > len(candidates) and len(new) < free
        return new[:free]

    async def _take(self, seen: Seen) -> None:
        """Raises what concerns all recordings."""
        try:
            await self._taker.take(seen, self._now_ns, self._memory.unchanged_seconds(seen))
        except NotYet as error:
            self._memory.wait(seen, error.seconds)
        except Unreadable as error:
            self._failed(seen, str(error))
        except FolderUnavailable:
            raise
        except DATABASE_TROUBLE as error:
            self._failed(seen, _why(error))
            if not is_bad_data(error):  # the file may be what the store or the decoder fails at, so others come first
                raise
        except AppError:
            raise
        except Exception as error:
            log.exception("a recording was not taken", file=shown("/".join(seen.parts)))
            self._failed(seen, type(error).__name__)
        else:
            self._memory.succeeded(seen)

    def _failed(self, seen: Seen, why: str) -> None:
        file = shown("/".join(seen.parts))
        log.warning("a recording could not be taken, and is tried again later", file=file, why=why)
        self._memory.failed(seen, f"{file}: {why}")


def _why(error: Exception) -> str:
    """What an operator may read. The text of a database's error has the statement with its values."""
    return str(error) if isinstance(error, OSError | Unreadable) and str(error) else type(error).__name__


def _pause_after(error: Exception, troubles: int) -> float:
    """How long to wait after trouble that concerns all recordings. It grows while the trouble lasts."""
    if isinstance(error, IntakePaused):  # an operator who ends the pause does not want to wait
        return SCAN_SECONDS
    usual = TROUBLE_SECONDS[min(troubles, len(TROUBLE_SECONDS) - 1)]
    asked = error.retry_after if isinstance(error, AppError) else None
    return min(TROUBLE_SECONDS[-1], max(usual, asked or 0))
