"""Wakes the watch of a folder when something changes in it, as far as the system reports that.

It is a hint only. Network mounts report nothing, and then the watch looks at the folder by the clock.
"""

import asyncio
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread

import structlog
from watchfiles import watch

MOST_FOLDERS = 500  # the kernel limits them for each user
STEP_MS = 200
DEBOUNCE_MS = 1000
RESTART_SECONDS = 5.0

log = structlog.stdlib.get_logger("callscribe.watch")


class Alarm:
    """Watches folders in a thread. It does not descend by itself, because it would follow links out of the folder."""

    def __init__(self) -> None:
        self._rung = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._stop = Event()
        self._folders: frozenset[Path] = frozenset()

    def watch(self, folders: Collection[Path]) -> None:
        """Watch these folders from now on, and no others."""
        wanted = frozenset(sorted(filter(_is_utf8, folders))[:MOST_FOLDERS])
        if wanted == self._folders:
            return
        self.close()
        self._folders, self._stop = wanted, Event()
        Thread(target=self._run, args=(wanted, self._stop), name="watch-alarm", daemon=True).start()

    async def rung(self) -> None:
        """Return when something has changed since the last time."""
        await self._rung.wait()
        self._rung.clear()

    def close(self) -> None:
        self._stop.set()
        self._folders = frozenset()

    def _run(self, folders: Collection[Path], stop: Event) -> None:
        while not stop.is_set():
            try:
                self._report(folders, stop)
            except BaseException as error:  # noqa: BLE001  such as a name that is not UTF-8, at which the library panics
                log.info("changes of the watched folder are not reported for a while", error=repr(error))
                self._ring()
                stop.wait(RESTART_SECONDS)

    def _report(self, folders: Collection[Path], stop: Event) -> None:
        """Ring at each change, until `stop` is set."""
        changes = watch(
            *folders,
            watch_filter=None,
            debounce=DEBOUNCE_MS,
            step=STEP_MS,
            stop_event=stop,
            raise_interrupt=False,
            recursive=False,
            ignore_permission_denied=True,
        )
        for _ in changes:
            self._ring()

    def _ring(self) -> None:
        with suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._rung.set)


def _is_utf8(folder: Path) -> bool:
    """The library takes no other names."""
    try:
        str(folder).encode()
    except UnicodeEncodeError:
        return False
    return True
