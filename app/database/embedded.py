"""Runs an embedded PostgreSQL if no database is configured. All processes of a data folder share it.

Each process that uses the server holds a shared lock, which the kernel releases even after kill -9. The last process to
end stops the server. Every process also watches the server, and the first to see that it is gone starts it again.
"""

import fcntl
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import BinaryIO

import structlog
from sqlalchemy import URL

from app import wording
from app.database import postmaster
from app.database.address import Address, parse_address
from app.database.connections import Database, DatabaseUnavailable, migrate
from app.database.postgres_folder import SUPERUSER, UnusableFolder
from app.process.threads import in_daemon_thread

POLL_SECONDS = 0.05
WATCH_SECONDS = 0.5
STEADY_SECONDS = 5.0
LONGEST_PAUSE_SECONDS = 15.0
ORPHANS_SECONDS = 3.0
REMIND_SECONDS = 10.0
SOCKET_NAME_BYTES = len("/.s.PGSQL.5432")
LONGEST_SOCKET_PATH_BYTES = 103  # macOS; Linux takes four more
PLAIN = re.compile(r"[A-Za-z0-9/._-]+")  # has the same meaning in an address, an option and a list of paths

log = structlog.stdlib.get_logger("callscribe.postgres")


@dataclass
class BackOff:
    """Decides when a server that ended may be started again: immediately the first time, then after growing pauses.

    After a server was ready for STEADY_SECONDS, the pauses begin again at 0. Times are those of one clock, in seconds.
    """

    ready_since: float | None = None
    failures: int = 0
    not_before: float = 0.0

    def ready(self, now: float) -> None:
        """Record that the server accepts connections."""
        if self.ready_since is None:
            self.ready_since = now

    def ended(self, now: float) -> float:
        """Record that the server ended, or could not be started. Returns for how many seconds it may not be started."""
        steady = self.ready_since is not None and now - self.ready_since >= STEADY_SECONDS
        self.failures = 0 if steady else self.failures + 1
        self.ready_since = None
        pause = min(LONGEST_PAUSE_SECONDS, 2.0 ** (self.failures - 2)) if self.failures > 1 else 0.0
        self.not_before = now + pause
        return pause


class EmbeddedPostgres:
    """A PostgreSQL in `folder` that runs while any process uses it.

    Its methods block, so call them in a thread. `start` comes first, and `stop` last even if `start` raised.
    """

    def __init__(self, folder: Path) -> None:
        """Raises DatabaseUnavailable if no file can be created beside `folder`."""
        try:
            folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._users = postmaster.open_lock(folder.parent / f"{folder.name}.lock")
        except OSError as error:
            raise DatabaseUnavailable(f"{error.filename} cannot be used: {wording.of_disk(error)}") from None
        self.server_lock = folder.parent / f"{folder.name}.running"
        self._folder = folder.resolve()
        self._back_off = BackOff()
        self._seen = False  # whether this process has started or seen the server that should be running
        self._alive_at = self._reminded_at = time.monotonic()
        self._ending = Event()
        self._watching: Thread | None = None
        self._socket_folder = SocketFolder(self._folder)

    def start(self) -> str:
        """Start the server, or join the one that runs. Returns its address when it accepts connections.

        A server that cannot start, for example because the disk is full, is started again until it runs. Raises
        DatabaseUnavailable if no further try can help, or if `stop` is called meanwhile.
        """
        while not self._ending.is_set():
            try:
                fcntl.flock(self._users, fcntl.LOCK_SH | fcntl.LOCK_NB)
                if self._start_if_gone():
                    return self._address()
            except BlockingIOError:  # another process, which was the last user, is stopping the server
                pass
            except UnusableFolder as error:
                raise DatabaseUnavailable(str(error)) from None
            self._ending.wait(POLL_SECONDS)
        raise DatabaseUnavailable("stopped before the embedded PostgreSQL was up")

    def watch(self) -> None:
        """Let a thread start the server again whenever it has died, until `stop`. Returns immediately."""
        self._watching = Thread(target=self._watch, name="watch-postgres", daemon=True)
        self._watching.start()

    def stop(self) -> None:
        """End the thread of `watch`, and stop the server unless another process uses it."""
        self._ending.set()
        if self._watching is not None:
            self._watching.join()
        try:
            fcntl.flock(self._users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not postmaster.stop(self._folder, self.server_lock):
                log.warning("the embedded PostgreSQL does not stop; it goes on without this process")
        except BlockingIOError:
            pass
        finally:
            self._users.close()
            self._socket_folder.close()

    def _watch(self) -> None:
        while not self._ending.wait(WATCH_SECONDS):
            try:
                self._start_if_gone()
            except UnusableFolder:
                continue  # it has been reported already
            except Exception:  # without this thread, no process would start the server again
                log.exception("the embedded PostgreSQL could not be checked or started")

    def _start_if_gone(self) -> bool:
        """Start the server if no process of it is left. Returns whether the server accepts connections.

        After a start this returns False, because the server needs time. A later call finds out whether it is ready.
        """
        try:
            lock = postmaster.try_lock(self.server_lock)
        except OSError as error:
            self._report_waiting(str(error))
            return False
        if lock is None:
            return self._is_ready()
        with lock:
            if self._seen:
                self._report_end(postmaster.last_lines(self._folder))
            if time.monotonic() >= self._back_off.not_before and not self._ending.is_set():
                self._launch(lock)
        return False

    def _is_ready(self) -> bool:
        self._seen = True
        if not postmaster.is_ready(self._folder):
            self._report_waiting("it starts, or its last sessions have not ended yet")
            return False
        now = time.monotonic()
        if postmaster.lives(self._folder):
            self._back_off.ready(now)
            self._alive_at = self._reminded_at = now
        elif now - self._alive_at > ORPHANS_SECONDS and (count := postmaster.end_orphans(self._folder)):
            log.warning("the embedded PostgreSQL was killed; the sessions that it left were asked to end", count=count)
        return True

    def _launch(self, lock: BinaryIO) -> None:
        self._seen = True
        self._alive_at = self._reminded_at = time.monotonic()
        try:
            postmaster.launch(self._folder, lock)
        except (OSError, subprocess.CalledProcessError) as error:
            output = error.stderr if isinstance(error, subprocess.CalledProcessError) else None
            self._report_end((output or str(error)).splitlines()[-postmaster.LAST_LINES :])
        except UnusableFolder as error:
            self._report_end([str(error)])
            raise

    def _report_end(self, why: list[str]) -> None:
        self._seen = False
        pause = self._back_off.ended(time.monotonic())
        log.warning(
            "the embedded PostgreSQL does not run; it is started again",
            pause_seconds=pause,
            **_free_space(self._folder if self._folder.exists() else self._folder.parent),
            last_lines=why,
        )

    def _report_waiting(self, why: str) -> None:
        if time.monotonic() - self._reminded_at > REMIND_SECONDS:
            self._reminded_at = time.monotonic()
            log.warning("waiting for the embedded PostgreSQL", why=why)

    def _address(self) -> str:
        query = {"host": self._socket_folder.short_path(), "port": postmaster.SETTINGS["port"]}
        return URL.create("postgresql", SUPERUSER, database=SUPERUSER, query=query).render_as_string()


class SocketFolder:
    """Names the folder of the server's socket so that every client in this process can connect to it.

    A path that is too long for a socket, or has special characters, is replaced by the path of a descriptor that this
    process holds. Without /proc it is replaced by a link in a folder that no other user may enter. So no other user can
    take the name first.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._descriptor: int | None = None
        self._link: Path | None = None

    def short_path(self) -> str:
        """Returns the path to connect to. It may be valid in this process only, and until `close`."""
        path = str(self._folder)
        if PLAIN.fullmatch(path) and len(path) + SOCKET_NAME_BYTES <= LONGEST_SOCKET_PATH_BYTES:
            return path
        if Path("/proc/self/fd").exists():
            if self._descriptor is None:
                self._descriptor = os.open(self._folder, os.O_PATH | os.O_DIRECTORY)
            return f"/proc/self/fd/{self._descriptor}"
        if self._link is None:
            self._link = Path(tempfile.mkdtemp(prefix="callscribe-")) / "postgres"
            self._link.symlink_to(self._folder)
        return str(self._link)

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
        if self._link is not None:
            shutil.rmtree(self._link.parent, ignore_errors=True)


def _free_space(folder: Path) -> dict[str, int]:
    """Returns what is free on the disk, as fields of a log line.

    It is logged because a server on a full disk often cannot even write to its own log.
    """
    try:
        disk = os.statvfs(folder)
    except OSError:
        return {}
    return {"free_bytes": disk.f_bavail * disk.f_frsize, "free_files": disk.f_favail}


@asynccontextmanager
async def open_database(address: Address | None, data_dir: Path) -> AsyncIterator[Database]:
    """Migrate and open the database at `address`, or an embedded one under `data_dir` if `address` is None.

    Waits for a database that is away. Raises DatabaseUnavailable if the database cannot be used. The end of the block
    closes the connections and stops the embedded server, unless another process uses it.
    """
    if address is not None:
        async with _migrated(address) as database:
            yield database
        return
    embedded = EmbeddedPostgres(data_dir / "postgres")
    try:
        socket = await in_daemon_thread(embedded.start, "start-postgres")
        embedded.watch()
        async with _migrated(parse_address(socket)) as database:
            yield database
    finally:
        await in_daemon_thread(embedded.stop, "stop-postgres")


@asynccontextmanager
async def _migrated(address: Address) -> AsyncIterator[Database]:
    await migrate(address)
    database = Database(address)
    try:
        yield database
    finally:
        await database.close()
