"""Reports what contains the decoder on this machine. To find out, it starts a decoder that tries to break out.

It exists because kernels, containers and their profiles differ, so that only a trial shows whether a piece is missing.
"""

import os
from dataclasses import dataclass
from io import FileIO

import structlog

from app.audio.decode import MEMORY_BYTES, PROBE_CPU_SECONDS, PROGRAM
from app.audio.decoder_process import ask
from app.errors import MediaError

TIMEOUT_SECONDS = 30.0

log = structlog.stdlib.get_logger("callscribe.decoder")


@dataclass(frozen=True, slots=True)
class Containment:
    """What contains a decoder, besides its limits on memory, CPU time and files."""

    no_new_privileges: bool
    landlock: int
    """The version of the kernel's Landlock. It is 0 if that is missing."""
    seccomp: bool
    possible: tuple[str, ...]
    """What a recording that has taken over the decoder could still do. It is empty if all attempts were refused."""
    unavailable: str | None = None
    """Why no decoder could be started. Then the other fields mean nothing."""

    @property
    def complete(self) -> bool:
        return self.no_new_privileges and self.landlock > 0 and self.seccomp and not self.possible


async def containment_report() -> Containment:
    """Start a decoder that tries to break out. Returns what contained it and what it could do."""
    limits = {"memory_bytes": MEMORY_BYTES, "cpu_seconds": PROBE_CPU_SECONDS, "file_bytes": 0}
    try:
        with FileIO(os.devnull) as nothing:
            answer = await ask(PROGRAM, nothing, {"limits": limits, "report": True}, TIMEOUT_SECONDS)
    except (OSError, MediaError) as error:
        return Containment(False, 0, False, (), unavailable=str(error))
    return Containment(**answer["contained_by"], possible=tuple(answer["possible"]))


async def log_containment() -> None:
    """Write a log line about the containment. It is a warning that says what is missing if the containment has gaps."""
    found = await containment_report()
    if found.unavailable is not None:
        log.warning("the decoder cannot be started", error=found.unavailable)
        return
    pieces = {"no_new_privileges": found.no_new_privileges, "landlock": found.landlock, "seccomp": found.seccomp}
    if found.complete:
        log.info("recordings are decoded in a sandbox", **pieces)
    else:
        log.warning(
            "the sandbox in which recordings are decoded has gaps on this machine",
            **pieces,
            possible=list(found.possible),
        )
