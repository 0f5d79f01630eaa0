"""Decodes recordings in any container and codec to PCM files, and reads facts from their headers.

The rest of the service decodes through this module. FFmpeg parses bytes of strangers, so it runs in its own process
(`decoder/`, started by `decoder_process.py`). That process has limits on memory, CPU, files and time, and can reach
nothing but the recording and its PCM files (`containment/`). Only `decoder/` may import FFmpeg.
"""

import errno
import os
from dataclasses import asdict, dataclass
from functools import partial
from io import FileIO
from pathlib import Path
from typing import Any, Literal

from app.audio.completeness import announced_seconds, announced_wav_seconds
from app.audio.decoder_process import DecoderUnavailable as DecoderUnavailable
from app.audio.decoder_process import ask, not_the_recordings_fault
from app.audio.mixing import mix
from app.audio.pcm import BYTES_PER_SAMPLE, SAMPLE_RATE, PcmFile
from app.audio.raw import RawSound
from app.errors import BadMedia, MediaError, NoAudio, TooLong, UnsupportedMedia
from app.process.threads import in_daemon_thread

PROGRAM = Path(__file__).with_name("decoder") / "program.py"
MEMORY_BYTES = 512 * 1024 * 1024
PROBE_CPU_SECONDS = 10
ERRORS: dict[str, type[MediaError]] = {error.code: error for error in (UnsupportedMedia, NoAudio, BadMedia, TooLong)}


@dataclass(frozen=True, slots=True)
class MediaInfo:
    """The audio tracks as the header describes them. Names are FFmpeg's, such as `wav` and `pcm_mulaw`.

    The first track decides codec and rate. They are None for some recordings that have a header and no sound.
    """

    container: str
    codec: str | None
    sample_rate: int | None
    channels: int
    duration_seconds: float | None
    """What the header announces, or what follows from the bit rate. None if neither is known."""


@dataclass(frozen=True, slots=True)
class Loss:
    """Sound that did not become samples: its seconds if they are known, or else its bytes if they are known.

    It is `damaged`, in a whole `track`, in a `channel` that appears too late, or in `bytes` that FFmpeg cannot read.
    """

    kind: Literal["damaged", "track", "channel", "bytes"]
    seconds: float | None = None
    bytes: int | None = None


@dataclass(frozen=True, slots=True)
class DecodedAudio:
    """The audio of a recording in PCM files. They are in the caller's folder, and the caller erases them."""

    info: MediaInfo
    duration_seconds: float
    """Counted from the samples, whatever the header announces."""
    channels: tuple[PcmFile, ...]
    """One file for a mix, and otherwise a file for each channel in the recording's order. All have the same length."""
    announced_seconds: float | None = None
    """What the header announces if clearly less was decoded. None if all was decoded or the header is not believed."""
    losses: tuple[Loss, ...] = ()


async def probe(path: Path, raw: RawSound | None = None, *, timeout_seconds: float = 30.0) -> MediaInfo:
    """Read the header of the recording at `path`. This takes a tenth of a second or two.

    `raw` says what the recording holds if it has no header.

    Raises UnsupportedMedia for a file that is empty, not media, has an unreadable header, more than 8 channels or a
    sample rate outside 4 to 384 kHz; NoAudio for media without an audio track; BadMedia if FFmpeg crashed on the
    recording or used up its CPU time; and DecoderUnavailable if the recording is not to blame.
    """
    limits = {"memory_bytes": MEMORY_BYTES, "cpu_seconds": PROBE_CPU_SECONDS, "file_bytes": 0}
    answer = await _ask(path, {"limits": limits, "raw": raw and asdict(raw)}, timeout_seconds)
    return MediaInfo(**answer["info"])


async def decode(
    path: Path,
    folder: Path,
    raw: RawSound | None = None,
    *,
    split: bool,
    max_seconds: float,
    timeout_seconds: float | None = None,
) -> DecodedAudio:
    """Write the recording's audio as PCM files to `folder`: each channel alone (`split`) or mixed.

    The channels of all tracks are the channels of the recording, in order. If the tracks are in several languages, only
    the default one is decoded. Recordings that were joined to one file are decoded one after the other. A late start of
    a track, and a gap of 0.1 s or more in its timestamps, become silence. If the recording is cut off or damaged in
    places, the rest of it is decoded. If it has a header and no sound, there are no samples. `raw` says what the
    recording holds if it has no header.

    `timeout_seconds` defaults to twice the CPU time allowed, which grows with `max_seconds`. After an error or a
    cancellation there is no PCM file in `folder`. A cancelled call returns only when the decoder's process is gone.

    Raises what `probe` raises. Also raises BadMedia if less than half of the packets can be decoded, TooLong
    if more than `max_seconds` were decoded, whatever the header says, and OSError with ENOSPC or EDQUOT for a full
    disk.
    """
    limits = limits_for(max_seconds)
    request = {
        "limits": limits,
        "output": {"folder": str(folder), "rate": SAMPLE_RATE, "max_seconds": max_seconds},
        "raw": raw and asdict(raw),
    }
    try:
        answer = await _ask(path, request, timeout_seconds or 2 * limits["cpu_seconds"])
        with not_the_recordings_fault("decoded audio cannot be used"):
            channels = _channels(folder, answer["channels"], answer["samples"])
        if not split and len(channels) > 1:
            with not_the_recordings_fault("decoded audio cannot be mixed"):
                channels = (await in_daemon_thread(partial(mix, channels, folder / "channel-mix.pcm"), "mix"),)
    except BaseException:
        _remove_channels(folder)
        raise
    info, seconds = MediaInfo(**answer["info"]), answer["samples"] / SAMPLE_RATE
    losses = tuple(Loss(**loss) for loss in answer["losses"])
    return DecodedAudio(info, seconds, channels, _announced(path, answer, info.container, seconds), losses)


def _announced(path: Path, answer: dict[str, Any], container: str, seconds: float) -> float | None:
    if container == "wav":
        return announced_wav_seconds(answer["wav"], seconds)
    with not_the_recordings_fault("the recording cannot be read"):
        size = path.stat().st_size
    return announced_seconds(container, size, answer["header_seconds"], seconds)


async def _ask(path: Path, request: dict[str, Any], timeout_seconds: float) -> dict[str, Any]:
    with _open_recording(path) as recording:
        return without_error(await ask(PROGRAM, recording, request, timeout_seconds))


def limits_for(max_seconds: float) -> dict[str, int]:
    """The limits of a decoder that writes up to so much audio."""
    return {
        "memory_bytes": MEMORY_BYTES,
        "cpu_seconds": 30 + int(max_seconds / 20),
        "file_bytes": (int(max_seconds) + 1) * SAMPLE_RATE * BYTES_PER_SAMPLE,
    }


def without_error(answer: dict[str, Any]) -> dict[str, Any]:
    """Returns the answer of a decoder. An answer that is an error is raised."""
    match answer.get("error"):
        case None:
            return answer
        case "disk_full":
            raise OSError(errno.ENOSPC, "no space for decoded audio")
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
    """Returns the files that were written, and erases the others that the decoder opened.

    It opens as many as a recording may need. Raises DecoderUnavailable if the files are not as the answer says.
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
