"""A process from which commands are forked that have imported their modules already: see `testing.command_line`.

It imports nothing that starts threads, such as the speech libraries, because a fork copies only one thread.
"""

import atexit
import json
import os
import signal
import socket
import sys
import traceback
from collections.abc import Mapping
from typing import Any

import app.access.keys
import app.jobs.changes.changing
import app.jobs.reads.reading
import app.settings
from app.cli.commands import main

LOADED = (app.access.keys, app.jobs.changes.changing, app.jobs.reads.reading, app.settings)
"""What most commands import when they run."""


def serve(listener: socket.socket) -> None:
    """Runs a command for each connection, until the process is killed."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # no process waits for those that answer
    while True:
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            _answer(connection)
        connection.close()


def _answer(connection: socket.socket) -> None:
    """Runs the command in a process of its own, and sends its exit status."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    with connection.makefile("rw") as stream:
        command = json.loads(stream.readline())
        pid = os.fork()
        if pid == 0:
            connection.close()
            _run(command)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        stream.write(f"{status}\n")
    os._exit(0)


def _run(command: Mapping[str, Any]) -> None:
    """Never returns: it ends the process as Python ends one."""
    for descriptor, flags in enumerate((os.O_RDONLY, os.O_WRONLY, os.O_WRONLY)):
        os.dup2(os.open(command["files"][descriptor], flags), descriptor)
    os.environ.clear()
    os.environ.update(command["environment"])
    sys.argv = ["callscribe", *command["arguments"]]
    status = 0
    try:
        main()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001  as Python does it
        traceback.print_exc()
        status = 1
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
