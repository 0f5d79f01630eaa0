"""Starts PostgreSQL's first process, the postmaster, finds it again and asks it to stop.

The postmaster goes on when the process that started it ends. It inherits a file lock at its start, and all processes of
the server keep that lock. So the lock is free only if no process of the server is left. The pid file does not show
that, because after a reboot its id may belong to another process or a thread. So an id counts only if its process runs
the right program in the right data folder. Start times are not compared, because they come from a clock that may be
set.
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
SAID_BY_EACH_SESSION = "terminating connection due to unexpected postmaster exit"
NO_SIGNAL = 0  # the kernel checks that the process exists, and sends nothing
SETTINGS = {
    "listen_addresses": "",
    "port": "5432",
    # PostgreSQL changes to its data folder before it opens the socket, so no path is too long for a socket.
    "unix_socket_directories": ".",
    "unix_socket_permissions": "0700",
    # The folder may name locales that were installed when it was made and are not any more.
    "lc_messages": "C",
    "lc_monetary": "C",
    "lc_numeric": "C",
    "lc_time": "C",
}


def open_lock(path: Path) -> BinaryIO:
    """Open a file that is there to be locked, and create it if needed.

    Other users cannot open it. Otherwise they could lock it, and the server could not start.
    """
    file = path.open("ab")
    with suppress(OSError):
        os.fchmod(file.fileno(), 0o600)
    return file


def try_lock(path: Path) -> BinaryIO | None:
    """Open the file and lock it exclusively. Closing it ends the lock. Returns None if another process has the lock."""
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
    """Start a server in the folder, which keeps `lock` until it ends.

    Returns immediately. The server may still fail, and then the lock is free again. Raises what
    `postgres_folder.prepare` raises, and TimeoutError if a server of an earlier version does not stop.
    """
    _end_one_without_lock(folder)
    as_owner = postgres_folder.prepare(folder)
    settings = [argument for name, value in SETTINGS.items() for argument in ("-c", f"{name}={value}")]
    server = [postgres_folder.program("postgres"), "-D", postgres_folder.data_directory(folder), *settings]
    with _open_log(folder) as log:
        # The shell ends immediately, so that the server is not our child and leaves no zombie when it is killed.
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
    """Returns whether the server that runs in the folder reports that it accepts connections."""
    return _pid_file(folder)[7:8] == ["ready"]


def stop(folder: Path, lock: Path, how: signal.Signals = signal.SIGINT) -> bool:
    """Ask the server to stop, and wait until no process of it is left. Returns whether that happened in time.

    With SIGINT the server ends its sessions and stops in order. With SIGQUIT it stops as in a crash.
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
    """Send a signal to the folder's postmaster, and to no other process. Returns whether there is a postmaster."""
    first = _pid_file(folder)[:1]
    if not first or not first[0].isascii() or not first[0].isdigit():
        return False
    pid = int(first[0])
    try:
        process = os.pidfd_open(pid)  # refuses threads, and keeps to this process even if its id is used again
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
    """Returns whether this process can see the folder's postmaster. It cannot if that runs in another container."""
    return send(folder, NO_SIGNAL)


def end_orphans(folder: Path) -> int:
    """Ask the sessions that a killed postmaster left to end. Returns how many were asked.

    Most sessions notice by themselves. One that computes for an hour would keep the next server from starting for an
    hour.
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
    """Returns the last lines of the server's log, without those that each session writes after the server has died."""
    with suppress(OSError), (folder / "log").open("rb") as log:
        log.seek(max(0, os.fstat(log.fileno()).st_size - 4096))
        lines = [line.strip() for line in log.read().decode(errors="replace").splitlines()]
        return [line for line in lines if SAID_BY_EACH_SESSION not in line][-LAST_LINES:]
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
    """Returns the command line of a process if that is PostgreSQL in this folder, and otherwise no bytes."""
    try:
        is_here = os.path.samestat((process / "cwd").stat(), folder.stat())
        name = (process / "exe").readlink().name.removesuffix(" (deleted)")
        return (process / "cmdline").read_bytes() if is_here and name == "postgres" else b""
    except OSError:
        return b""


def _send_by_id(pid: int, folder: Path, number: int) -> bool:
    """Send a signal by process id, on systems without pidfd. The process is checked immediately before."""
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
    """Stop a server that an earlier version started. It has no lock, and it accepts every user.

    Raises TimeoutError if it does not stop.
    """
    started = time.monotonic()
    while send(folder, signal.SIGINT):
        if time.monotonic() - started > STOP_LIMIT_SECONDS:
            raise TimeoutError("the server of an earlier version does not stop")
        time.sleep(POLL_SECONDS)


def _open_log(folder: Path) -> BinaryIO:
    """Open the server's log, and start a new one if it is long.

    Links are not followed, because the server's user could replace the log by one.
    """
    path = folder / "log"
    if path.is_symlink() or (path.exists() and path.stat().st_size > LOG_BYTES):
        path.replace(path.with_name("log.old"))
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
    owner = folder.stat()
    if os.geteuid() == 0:
        os.fchown(descriptor, owner.st_uid, owner.st_gid)
    os.fchmod(descriptor, 0o600)
    return os.fdopen(descriptor, "ab")
