"""The process under test: `callscribe` itself, with the changes that a scenario needs.

    python -m proofs.chaos.process [--double] [--decode] [--broken FILE] [--lease SECONDS] [--idle SECONDS] -- serve …

`--double` replaces the engine and FFmpeg by doubles; with `--decode`, FFmpeg stays. While FILE exists, every attempt to
make a work folder fails with the error number that the file contains. With `--idle`, a consumer of a stream takes over
what another one has left for so many seconds.

Each process connects to the database under the name with which it leases jobs, so that the audit can see who writes.
This module changes the program from outside, so that no setting of the service has to exist only for tests.
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
from app.database import connecting
from app.jobs.claims import leases
from app.jobs.worker import heartbeat
from app.speech import engine
from app.storage import workspace
from testing import engine_double as double

BEATS_PER_LEASE = 6


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m proofs.chaos.process")
    parser.add_argument("--double", action="store_true")
    parser.add_argument("--decode", action="store_true")
    parser.add_argument("--broken", type=Path)
    parser.add_argument("--lease", type=float, default=leases.LEASE.total_seconds())
    parser.add_argument("--idle", type=float)
    parser.add_argument("command", nargs="+")
    arguments = parser.parse_args()
    name = f"{connecting.APPLICATION}{socket.gethostname()}:{os.getpid()}"
    patch.object(connecting, "session_name", lambda: name).start()
    patch.object(
        serving, "close_to_other_processes", lambda: None
    ).start()  # scenarios read its memory and its open files
    if arguments.double:  # before other modules import these names
        assert "app.intake.prober" not in sys.modules, "a module that uses the engine was imported too early"
        patch.object(decode, "probe", double.probe).start()
        if not arguments.decode:
            patch.object(decode, "decode", double.decode).start()
        patch.object(engine, "Engine", double.EngineDouble).start()
    if arguments.broken:
        patch.object(workspace, "mkdtemp", _breaking(arguments.broken)).start()

    if arguments.idle:
        from app.intake.stream import consumer  # it imports names that are patched above

        patch.object(consumer, "IDLE_SECONDS", arguments.idle).start()
        patch.object(consumer, "LOOK_SECONDS", arguments.idle / 2).start()
        patch.object(consumer, "KEEP_SECONDS", arguments.idle / 4).start()
    patch.object(leases, "LEASE", timedelta(seconds=arguments.lease)).start()
    patch.object(heartbeat, "BEAT_SECONDS", arguments.lease / BEATS_PER_LEASE).start()
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
