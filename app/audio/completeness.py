"""Finds recordings that are shorter than their header announces.

It exists because a copy that was interrupted is well formed up to its end, so that decoding it raises no error.
"""

import os
import struct
from pathlib import Path

# The headers of these containers count samples. For other containers FFmpeg guesses from the bit rate, uses the
# timestamps of what is there, or reports the longest of several tracks.
COUNTING_CONTAINERS = frozenset({"aiff", "au", "flac", "mov"})
PLACEHOLDER_BYTES = 0x7F00_0000  # a recorder that cannot go back to the header writes this or more into it, or 0
MAX_WAV_CHUNKS = 100
TOLERATED_SECONDS = 2.0
TOLERATED_SHARE = 0.02


def announced_seconds(path: Path, container: str, header_seconds: float | None, decoded_seconds: float) -> float | None:
    """Returns how long the recording announces to be if clearly less of it was decoded, and None otherwise.

    It also returns None if the header cannot be believed. `decoded_seconds` is not 0. Blocks while it reads the header.
    Raises OSError.
    """
    if not path.is_file():
        return None
    if container == "wav":
        share = _wav_share(path)
    elif container in COUNTING_CONTAINERS and header_seconds:
        share = decoded_seconds / header_seconds
    else:
        return None
    if not share or path.stat().st_size / share >= PLACEHOLDER_BYTES:
        return None
    announced = decoded_seconds / share
    return announced if announced - decoded_seconds > max(TOLERATED_SECONDS, TOLERATED_SHARE * announced) else None


def _wav_share(path: Path) -> float | None:
    """Returns the share of the announced samples that a WAV file has, as a fraction of 1; None if it announces none.

    It counts bytes, because FFmpeg reports the duration of what is there for some codecs, and the announced duration
    for others.
    """
    with path.open("rb") as file:
        end, at = os.fstat(file.fileno()).st_size, 12
        for _ in range(MAX_WAV_CHUNKS):
            file.seek(at)
            chunk = file.read(8)
            if len(chunk) < 8:
                return None
            name, size = struct.unpack("<4sI", chunk)
            at += 8
            if name == b"data":
                return (end - at) / size if size else None
            at += size + size % 2
    return None
