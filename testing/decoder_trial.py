"""One broken recording through `probe` and `decode`, as an upload and its job would put it."""

import time
from dataclasses import dataclass
from pathlib import Path

from app.audio.decode import decode, probe
from app.errors import MediaError

HANG_SECONDS = 10.0
MAX_AUDIO_SECONDS = 60.0
HANGING = ("took too long", "SIGXCPU")


@dataclass(frozen=True)
class Verdict:
    """`outcome` is `decoded` or an error's code; `fault` is None unless the service would have been at fault."""

    outcome: str
    seconds: float
    fault: str | None = None


async def attempt(content: bytes, folder: Path, patience_seconds: float = HANG_SECONDS) -> Verdict:
    """Put a recording through the decoder, with `folder` for its files, which has to be empty and is left so.

    What takes longer than `patience_seconds`, or all the processor time that the decoder allows, is held for hanging.
    """
    recording, decoded = folder / "recording", folder / "decoded"
    recording.write_bytes(content)
    decoded.mkdir()
    started, fault = time.monotonic(), None
    try:
        await probe(recording, timeout_seconds=patience_seconds)
        audio = await decode(
            recording, decoded, split=True, max_seconds=MAX_AUDIO_SECONDS, timeout_seconds=patience_seconds
        )
        outcome = "decoded"
        for channel in audio.channels:
            channel.path.unlink()
    except MediaError as error:
        outcome = error.code
        fault = "hangs" if any(sign in error.detail for sign in HANGING) else None
    except Exception as error:  # noqa: BLE001  the very thing that is looked for
        outcome, fault = "crashed", repr(error)
    seconds = time.monotonic() - started
    left = [path.name for path in decoded.iterdir()]
    if left and fault is None:
        fault = f"leaves files: {', '.join(left)}"
    for path in decoded.iterdir():
        path.unlink()
    decoded.rmdir()
    recording.unlink()
    return Verdict(outcome, seconds, fault)
