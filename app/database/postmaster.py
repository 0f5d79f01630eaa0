"""PostgreSQL's first process, the postmaster: started so that it outlives us, recognized, and asked to stop.

A server and all its backends keep a file lock that it inherits at its start. So the lock is free if and only if nothing
of it is left, whatever its pid file says: the file may name a process that has that id since a reboot, a thread, or
nothing. No pid is believed before the process is known by its program and its data folder. (Its start time is not
compared with the file's: both are read off a clock that may be set.)
"""

import errno
import fcntl
import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from app.database import postgres_folder

STOP_LIMIT_SECONDS = 60.0
FOUND_LIMIT_SECONDS = 10.0  # for a server that has just been started to write its pid file
POLL_SECONDS = 0.05
LOG_BYTES = 10 * 2**20
LAST_LINES = 5
FOLLOWS = "terminating connection due to unexpected postmaster exit"
LOOK = 0  # the signal that nobody notices
SETTINGS = {
    "listen_addresses": "",
    "port": "5432",
    # PostgreSQL goes to its data folder before it opens the socket there, so that no path is too long for a socket.
    "unix_socket_directories": ".",
    "unix_socket_permissions": "0700",
    # Of an earlier start, where these may not be installed any more.
    "lc_messages": "C",
    "lc_monetary": "C",
    "lc_numeric": "C",
    "lc_time": "C",
}


def open_lock(path: Path) -> BinaryIO:
    """A file to be locked, closed to other users: who may open it may lock it, and keep us from starting."""
    file = path.open("ab")
    with suppress(OSError):
        os.fchmod(file.fileno(), 0o600)
    return file


def try_lock(path: Path) -> BinaryIO | None:
    """The file, locked for us alone; None if somebody else has it."""
    file = open_lock(path)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    except OSError:
        file.close()
        raise
    return file


def launch(folder: Path, lock: BinaryIO) -> None:
    """Start a server that keeps `lock`. Raises what `postgres_folder.prepare` raises.

    Returns immediately. The server may still fail; then it releases the lock.
    """
    _end_one_without_lock(folder)
    as_owner = postgres_folder.prepare(folder)
    settings = [argument for name, value in SETTINGS.items() for argument in ("-c", f"{name}={value}")]
    server = [postgres_folder.program("postgres"), "-D", postgres_folder.data_directory(folder), *settings]
    with _open_log(folder) as log:
        # The shell ends immediately, so that the server is nobody's child and no zombie of ours when it is killed.
        subprocess.run(  # noqa: S603
            ["/bin/sh", "-c", '"$@" &', "sh", *server],
            check=True,
            stdout=log,
            stderr=log,
            start_new_session=True,
            pass_fds=[lock.fileno()],
            **as_owner,
        )


def is_ready(folder: Path) -> bool:
    """Whether the server that runs says that it takes connections."""
    return _pid_file(folder)[7:8] == ["ready"]


def stop(folder: Path, lock: Path, how: signal.Signals = signal.SIGINT) -> bool:
    """Have the server stop, and wait until nothing of it is left. Returns whether that is so.

    SIGINT ends its sessions and stops in order, SIGQUIT does not stop in order.
    """
    started, asked = time.monotonic(), False
    while (file := try_lock(lock)) is None:
        asked = asked or send(folder, how)
        if time.monotonic() - started > (STOP_LIMIT_SECONDS if asked else FOUND_LIMIT_SECONDS):
            return False
        time.sleep(POLL_SECONDS)
    file.close()
    return True


def send(folder: Path, number: int) -> bool:
    """Send a signal to the folder's postmaster, and to no other process. Returns whether there is one."""
    first = _pid_file(folder)[:1]
    if not first or not first[0].isascii() or not first[0].isdigit():
        return False
    pid = int(first[0])
    try:
        process = os.pidfd_open(pid)  # refuses threads, and stays with this process whichever gets its id
    except AttributeError:  # no Linux
        return _send_by_id(pid, folder, number)
    except (OSError, OverflowError) as error:
        in_a_sandbox = isinstance(error, OSError) and error.errno in (errno.ENOSYS, errno.EPERM)
        return in_a_sandbox and _send_by_id(pid, folder, number)
    try:
        if not _is_postmaster(Path(f"/proc/{pid}"), folder):
            return False
        signal.pidfd_send_signal(process, number)
    except OSError:
        return False
    finally:
        os.close(process)
    return True


def lives(folder: Path) -> bool:
    """Whether the folder's postmaster can be seen. In another container it cannot."""
    return send(folder, LOOK)


def end_orphans(folder: Path) -> int:
    """End the backends of a postmaster that was killed. Returns how many were asked to.

    Most notice it, but one that computes for an hour would keep the folder from the next server for an hour.
    """
    count = 0
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, AttributeError):
            held = os.pidfd_open(int(process.name))
            try:
                if _is_backend(process, folder):
                    signal.pidfd_send_signal(held, signal.SIGQUIT)
                    count += 1
            finally:
                os.close(held)
    return count


def last_lines(folder: Path) -> list[str]:
    """The end of the server's log, without what each session says when the server has died."""
    with suppress(OSError), (folder / "log").open("rb") as log:
        log.seek(max(0, os.fstat(log.fileno()).st_size - 4096))
        lines = [line.strip() for line in log.read().decode(errors="replace").splitlines()]
        return [line for line in lines if FOLLOWS not in line][-LAST_LINES:]
    return []


def _pid_file(folder: Path) -> list[str]:
    try:
        text = (folder / "postmaster.pid").read_text(errors="replace")
    except OSError:
        return []
    return [line.strip() for line in text.splitlines()]


def _is_postmaster(process: Path, folder: Path) -> bool:
    return b"-D" in _title(process, folder).split(b"\0")


def _is_backend(process: Path, folder: Path) -> bool:
    return _title(process, folder).startswith(b"postgres: ")


def _title(process: Path, folder: Path) -> bytes:
    """The command line of a process, as /proc shows it, if it is PostgreSQL in this folder; else nothing."""
    try:
        is_here = os.path.samestat((process / "cwd").stat(), folder.stat())
        name = (process / "exe").readlink().name.removesuffix(" (deleted)")
        return (process / "cmdline").read_bytes() if is_here and name == "postgres" else b""
    except OSError:
        return b""


def _send_by_id(pid: int, folder: Path, number: int) -> bool:
    """Where a process cannot be held on to. It is looked at immediately before."""
    if Path("/proc/self").exists():
        is_it = _is_postmaster(Path(f"/proc/{pid}"), folder)
    else:  # macOS
        command = ["/bin/ps", "-ww", "-o", "command=", "-p", str(pid)]
        shown = subprocess.run(command, capture_output=True, text=True, check=False).stdout  # noqa: S603
        is_it = f"{postgres_folder.program('postgres')} -D {folder}" in shown
    if is_it:
        os.kill(pid, number)
    return is_it


def _end_one_without_lock(folder: Path) -> None:
    """A server that an earlier version of this service started lets everybody in. Raises TimeoutError if it stays."""
    started = time.monotonic()
    while send(folder, signal.SIGINT):
        if time.monotonic() - started > STOP_LIMIT_SECONDS:
            raise TimeoutError("the server of an earlier version does not stop")
        time.sleep(POLL_SECONDS)


def _open_log(folder: Path) -> BinaryIO:
    """The server's log, begun anew when it is long. Not followed elsewhere: the server's user may have put a link."""
    path = folder / "log"
    if path.is_symlink() or (path.exists() and path.stat().st_size > LOG_BYTES):
        path.replace(path.with_name("log.old"))
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
    owner = folder.stat()
    if os.geteuid() == 0:
        os.fchown(descriptor, owner.st_uid, owner.st_gid)
    os.fchmod(descriptor, 0o600)
    return os.fdopen(descriptor, "ab")
