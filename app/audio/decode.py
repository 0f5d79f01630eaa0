"""Recordings in any container and codec → PCM files and facts.

This is the way into decoding for the rest of the service. FFmpeg parses bytes of strangers, so it runs in its own
process (`decoder/`, started by `decoder_process.py`). That process has limits on memory, CPU, files and time, and can
reach nothing but the recording and its PCM files (`containment/`). This module must not know FFmpeg.
"""

import errno
import os
from dataclasses import dataclass
from functools import partial
from io import FileIO
from pathlib import Path
from typing import Any

from app.audio.completeness import announced_seconds
from app.audio.decoder_process import DecoderUnavailable as DecoderUnavailable
from app.audio.decoder_process import ask, not_the_recordings_fault
from app.audio.pcm import BYTES_PER_SAMPLE, SAMPLE_RATE, PcmFile
from app.errors import BadMedia, MediaError, NoAudio, TooLong, UnsupportedMedia
from app.process.threads import in_daemon_thread

PROGRAM = Path(__file__).with_name("decoder") / "program.py"
MEMORY_BYTES = 512 * 1024 * 1024
PROBE_CPU_SECONDS = 10
ERRORS: dict[str, type[MediaError]] = {error.code: error for error in (UnsupportedMedia, NoAudio, BadMedia, TooLong)}


@dataclass(frozen=True, slots=True)
class MediaInfo:
    """The chosen audio track as the header describes it. FFmpeg's names, such as `wav` and `pcm_mulaw`."""

    container: str
    codec: str
    sample_rate: int
    channels: int
    duration_seconds: float | None
    """Announced by the header, or estimated from the bit rate; None if neither is possible."""


@dataclass(frozen=True, slots=True)
class DecodedAudio:
    info: MediaInfo
    duration_seconds: float
    """Counted, whatever the header announces."""
    channels: tuple[PcmFile, ...]
    """One file for a mix; otherwise one per channel in the recording's order. All have the same length."""
    announced_seconds: float | None = None
    """What the header announces if clearly less came out; None if all came out or the header cannot be believed."""


async def probe(path: Path, *, timeout_seconds: float = 30.0) -> MediaInfo:
    """Read the header of the recording at `path`. This takes a tenth of a second or two.

    Raises UnsupportedMedia (not media, empty, an unreadable header, more than 8 channels, a sample rate outside
    4 to 384 kHz), NoAudio (media without an audio track), BadMedia (FFmpeg crashed on the recording or used up its CPU
    time) and, if the recording is not to blame, DecoderUnavailable.
    """
    limits = {"memory_bytes": MEMORY_BYTES, "cpu_seconds": PROBE_CPU_SECONDS, "file_bytes": 0}
    answer = await _ask(path, {"limits": limits}, timeout_seconds)
    return MediaInfo(**answer["info"])


async def decode(
    path: Path, folder: Path, *, split: bool, max_seconds: float, timeout_seconds: float | None = None
) -> DecodedAudio:
    """Write the recording's audio as PCM files to `folder`: each channel alone (`split`) or their mean.

    The track marked as default is decoded; if none is marked, the first. Its timestamps are kept: a late start or a
    gap of 0.1 s or more becomes silence. If the recording is cut off or damaged in places, the rest of it is decoded.
    `timeout_seconds` defaults to twice the CPU time allowed, which grows with `max_seconds`. After an error or a
    cancellation `folder` is empty; a cancelled call returns only when the decoder's process is gone.

    Raises what `probe` raises. Raises BadMedia also if nothing or less than half of the packets can be decoded, and
    TooLong if more than `max_seconds` come out, whatever the header says. A full disk is an OSError with ENOSPC or
    EDQUOT.
    """
    cpu_seconds = 30 + int(max_seconds / 20)
    request = {
        "limits": {
            "memory_bytes": MEMORY_BYTES,
            "cpu_seconds": cpu_seconds,
            "file_bytes": (int(max_seconds) + 1) * SAMPLE_RATE * BYTES_PER_SAMPLE,
        },
        "output": {"folder": str(folder), "rate": SAMPLE_RATE, "split": split, "max_seconds": max_seconds},
    }
    try:
        answer = await _ask(path, request, timeout_seconds or 2 * cpu_seconds)
        with not_the_recordings_fault("decoded audio cannot be used"):
            channels = _channels(folder, answer["channels"], answer["samples"])
        info, seconds = MediaInfo(**answer["info"]), answer["samples"] / SAMPLE_RATE
        header_seconds = info.duration_seconds and info.duration_seconds - answer["skipped_seconds"]
        with not_the_recordings_fault("the recording cannot be read"):
            announced = await in_daemon_thread(
                partial(announced_seconds, path, info.container, header_seconds, seconds), "announced-seconds"
            )
    except BaseException:
        _remove_channels(folder)
        raise
    return DecodedAudio(info, seconds, channels, announced)


async def _ask(path: Path, request: dict[str, Any], timeout_seconds: float) -> dict[str, Any]:
    with _open_recording(path) as recording:
        answer = await ask(PROGRAM, recording, request, timeout_seconds)
    match answer.get("error"):
        case None:
            return answer
        case "disk_full":
            raise OSError(errno.ENOSPC, "no room for decoded audio")
        case "unavailable":
            raise DecoderUnavailable(answer["errno"], answer["detail"])
        case code:
            raise ERRORS[code](answer["detail"])


def _open_recording(path: Path) -> FileIO:
    with not_the_recordings_fault("the recording cannot be opened"):
        recording = path.open("rb", buffering=0)
    if os.fstat(recording.fileno()).st_size == 0 and path.is_file():
        recording.close()
        raise UnsupportedMedia("The file is empty")
    return recording


def _channels(folder: Path, count: int, samples: int) -> tuple[PcmFile, ...]:
    """The files that were written. The decoder opens as many as a recording may need, so the others are erased.

    Raises DecoderUnavailable if the files are not as the answer says.
    """
    files = sorted(folder.glob("channel-*.pcm"))
    for unused in files[count:]:
        unused.unlink()
    channels = tuple(PcmFile(file) for file in files[:count])
    if count < 1 or len(channels) != count or any(channel.samples != samples for channel in channels):
        raise DecoderUnavailable("the decoder gave a wrong answer")
    return channels


def _remove_channels(folder: Path) -> None:
    for file in folder.glob("channel-*.pcm"):
        file.unlink(missing_ok=True)
