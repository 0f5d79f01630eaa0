"""The process under test: `callscribe` itself, with what a scenario changes about it.

    python -m proofs.chaos.process [--double] [--decode] [--broken FILE] [--lease SECONDS] -- serve …

`--decode` lets FFmpeg decode, though the engine is doubled. While the file of `--broken` exists, no work folder can be
made: the error's number is in the file.

Each process is known to the database by the name under which it leases jobs, so that the audit sees who writes.
"""

import argparse
import os
import socket
import sys
import tempfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

from app.audio import decode
from app.cli import commands, serving
from app.database import connections
from app.jobs import queue
from app.speech import engine
from app.storage import workspace
from testing import engine_double as double

BEATS_PER_LEASE = 6


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m proofs.chaos.process")
    parser.add_argument("--double", action="store_true")
    parser.add_argument("--decode", action="store_true")
    parser.add_argument("--broken", type=Path)
    parser.add_argument("--lease", type=float, default=queue.LEASE.total_seconds())
    parser.add_argument("command", nargs="+")
    arguments = parser.parse_args()
    connections.SESSION["application_name"] = f"{connections.APPLICATION}{socket.gethostname()}:{os.getpid()}"
    patch.object(serving, "close_to_other_processes", lambda: None).start()  # scenarios count what it holds
    if arguments.double:  # before anything imports these by name
        patch.object(decode, "probe", double.probe).start()
        if not arguments.decode:
            patch.object(decode, "decode", double.decode).start()
        patch.object(engine, "Engine", double.EngineDouble).start()
    if arguments.broken:
        patch.object(workspace, "mkdtemp", _breaking(arguments.broken)).start()
    from app.jobs import runner

    patch.object(queue, "LEASE", timedelta(seconds=arguments.lease)).start()
    patch.object(runner, "BEAT_SECONDS", arguments.lease / BEATS_PER_LEASE).start()
    sys.argv = ["callscribe", *arguments.command]
    commands.main()


def _breaking(fault: Path) -> Callable[..., str]:
    real = tempfile.mkdtemp

    def mkdtemp(*arguments: Any, **options: Any) -> str:
        if fault.exists():
            code = int(fault.read_text())
            raise OSError(code, os.strerror(code))
        made: str = real(*arguments, **options)
        return made

    return mkdtemp


if __name__ == "__main__":
    main()
