"""Tries one broken recording on `probe` and `decode`, as an upload and its job would do.

It decides whether the service would be at fault. A recording must be decoded or refused; it must not crash the service,
hang, or leave files.
"""

import time
from dataclasses import dataclass
from pathlib import Path

from app.audio.decode import DecoderUnavailable, decode, probe
from app.errors import MediaError

HANG_SECONDS = 10.0
MAX_AUDIO_SECONDS = 60.0
OUT_OF_TIME, OUT_OF_CPU_TIME = "did not answer within", "SIGXCPU"
"""How `app.audio.decoder_process` describes a decoder that ran out of time, and one that used up its CPU time."""


@dataclass(frozen=True)
class Verdict:
    """What happened to a recording.

    `outcome` is `decoded` or an error's code. `fault` says what the service did wrong, or is None.
    """

    outcome: str
    seconds: float
    fault: str | None = None


async def attempt(content: bytes, folder: Path, patience_seconds: float = HANG_SECONDS) -> Verdict:
    """Decodes a recording. Its files go to `folder`, which must be empty, and is empty again afterwards.

    A decoder hangs if it takes longer than `patience_seconds`, or if it uses up its CPU time.
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
        fault = "hangs" if OUT_OF_CPU_TIME in error.detail else None
    except DecoderUnavailable as error:
        outcome, fault = "unavailable", "hangs" if OUT_OF_TIME in str(error) else repr(error)
    except Exception as error:  # noqa: BLE001  a trial looks for any error that is not a MediaError
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
