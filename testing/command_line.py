"""Runs a command of `callscribe` in a fork of a process that has imported its modules, which takes a second otherwise.

Use `testing.service.callscribe` instead if the start itself is tested, or if a signal is sent to the command.
"""

import atexit
import json
import shutil
import socket
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

from testing.service import environment

LIMIT_SECONDS = 300.0


def run_command(
    *arguments: str, folder: Path, given: str | None = None, **settings: str
) -> "subprocess.CompletedProcess[str]":
    """Does what `testing.service.callscribe` does."""
    with tempfile.TemporaryDirectory(prefix="command-") as name, socket.socket(socket.AF_UNIX) as connection:
        files = [Path(name, stream) for stream in ("stdin", "stdout", "stderr")]
        for file in files:
            file.write_text((given or "") if file.name == "stdin" else "")
        command = {
            "arguments": arguments,
            "environment": environment(folder, **settings),
            "files": [str(file) for file in files],
        }
        connection.settimeout(LIMIT_SECONDS)
        connection.connect(str(_server()))
        with connection.makefile("rw") as stream:
            stream.write(f"{json.dumps(command)}\n")
            stream.flush()
            status = int(stream.readline())
        return subprocess.CompletedProcess(
            ["callscribe", *arguments], status, files[1].read_text(), files[2].read_text()
        )


@cache
def _server() -> Path:
    """The address of the process that forks commands. It is started once, and ends with this process."""
    folder = Path(tempfile.mkdtemp(prefix="commands-"))
    address = folder / "socket"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(address))
        listener.listen()  # connections wait here until the process has started
        descriptor = listener.fileno()
        process = subprocess.Popen(
            [sys.executable, "-m", "testing.command_server", str(descriptor)],
            stdin=subprocess.DEVNULL,
            pass_fds=[descriptor],
        )

    def end() -> None:
        process.kill()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)

    atexit.register(end)
    return address
