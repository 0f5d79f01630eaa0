"""Checks of the decoder: whether it decodes a recording that is known to be good, and what contains it."""

import tempfile
from pathlib import Path
from typing import Any

from app.audio.containment.report import containment_report
from app.audio.decode import decode
from app.audio.known_speech import SPEECH, SPEECH_SECONDS
from app.cli.doctor.findings import Finding, failed, fine, warning
from app.cli.doctor.surroundings import Surroundings
from app.errors import MediaError


async def decoder(_: Surroundings) -> Finding:
    try:
        with tempfile.TemporaryDirectory(prefix="callscribe-doctor-") as folder:
            audio = await decode(SPEECH, Path(folder), split=False, max_seconds=60, timeout_seconds=30)
    except (OSError, MediaError) as error:
        return failed(
            f"a good recording cannot be decoded: {error}",
            "Look at the memory and the temporary folder (TMPDIR) of this machine, and whether it may start processes.",
        )
    if abs(audio.duration_seconds - SPEECH_SECONDS) > 0.1:
        return failed(f"{audio.duration_seconds} s were decoded of {SPEECH_SECONDS}", "Install Callscribe again.")
    return fine("a recording of a telephone was decoded")


async def sandbox(_: Surroundings) -> Finding:
    """Starts a decoder that tries to break out."""
    found = await containment_report()
    if found.unavailable is not None:
        return failed(f"the decoder cannot be started: {found.unavailable}", "See the check `decoder`.")
    pieces = {"no_new_privileges": found.no_new_privileges, "landlock": found.landlock, "seccomp": found.seccomp}
    present = [name for name, has in pieces.items() if has]
    facts: dict[str, Any] = {**pieces, "possible": list(found.possible)}
    if found.possible:
        return warning(
            f"a recording that takes the decoder over could {', '.join(found.possible)}",
            "Use Linux 5.13 or newer on x86-64 or ARM64, and a container engine that allows seccomp and Landlock "
            "(docs/deploy.md, The decoder).",
            **facts,
        )
    return fine(f"the decoder can reach nothing ({', '.join(present)})", **facts)
