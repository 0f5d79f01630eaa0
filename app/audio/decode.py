"""Recordings in any container and codec, made into PCM files by a child process under limits.

FFmpeg parses bytes of strangers, so it runs in `decode_child.py`: no environment, a session of its own, limits on
memory, CPU, files and time. The child gets the recording as an open file, never a path or a name.
"""

import asyncio
import errno
import json
import os
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any

from app.audio.claims import announced_seconds
from app.audio.disk import is_disk_full
from app.audio.pcm import BYTES_PER_SAMPLE, SAMPLE_RATE, PcmFile
from app.errors import BadMedia, MediaError, NoAudio, TooLong, UnsupportedMedia

CHILD = Path(__file__).with_name("decode_child.py")
CHILD_MEMORY_BYTES = 512 * 1024 * 1024
PROBE_CPU_SECONDS = 10
FATAL_SIGNALS = frozenset(  # what a recording can bring about; any other signal came from outside
    {
        signal.SIGXCPU,
        signal.SIGSEGV,
        signal.SIGABRT,
        signal.SIGBUS,
        signal.SIGFPE,
        signal.SIGILL,
        signal.SIGTRAP,
        signal.SIGSYS,
    }
)
ERRORS: dict[str, type[MediaError]] = {error.code: error for error in (UnsupportedMedia, NoAudio, BadMedia, TooLong)}


class DecoderUnavailable(OSError):
    """The decoder could not do its work, and the recording is not to blame.

    The child could not be started, was killed from outside, ended without an answer or ran out of time while the CPU
    time allowed was not used up; or it could not read the recording's file or write to our folder; or the machine had
    no memory for it. The same recording may be decoded well later, or by another worker. A full disk is not among
    these: it is an OSError with ENOSPC or EDQUOT.
    """


@dataclass(frozen=True, slots=True)
class MediaInfo:
    """The chosen audio track as the header describes it. FFmpeg's names, such as `wav` and `pcm_mulaw`."""

    container: str
    codec: str
    sample_rate: int
    channels: int
    duration_seconds: float | None
    """Claimed or estimated from the bit rate; None if neither can be had."""


@dataclass(frozen=True, slots=True)
class DecodedAudio:
    info: MediaInfo
    duration_seconds: float
    """Counted, not claimed."""
    channels: tuple[PcmFile, ...]
    """One for a mix, else one per channel in the recording's order; all of one length."""
    announced_seconds: float | None = None
    """What the header announces, where clearly less came out; None where all did or the header cannot be believed."""


async def probe(path: Path, *, timeout_seconds: float = 30.0) -> MediaInfo:
    """What the header of the recording at `path` says, in a tenth of a second or two.

    Raises UnsupportedMedia (not media, empty, an unreadable header, more than 8 channels, a sample rate outside
    4 to 384 kHz), NoAudio (media without an audio track), BadMedia (FFmpeg crashed on the recording or used up its CPU
    time) and, where the recording is not to blame, DecoderUnavailable.
    """
    limits = {"memory_bytes": CHILD_MEMORY_BYTES, "cpu_seconds": PROBE_CPU_SECONDS, "file_bytes": 0}
    answer = await _ask_child(path, {"limits": limits}, timeout_seconds)
    return MediaInfo(**answer["info"])


async def decode(
    path: Path, folder: Path, *, split: bool, max_seconds: float, timeout_seconds: float | None = None
) -> DecodedAudio:
    """Write the recording's audio as PCM files to `folder`: each channel alone (`split`) or their mean.

    The track marked as default is taken, else the first. Its timestamps are kept: a late start or a gap of 0.1 s or
    more becomes silence. Of a recording that is cut off or damaged in places, what can be decoded is given.
    `timeout_seconds` defaults to twice the CPU time allowed, which grows with `max_seconds`. Nothing is left in
    `folder` after an error or a cancellation; a cancelled call has ended the child when it returns.

    Raises what `probe` raises, and BadMedia also if nothing or less than half of the packets can be decoded, TooLong
    if more than `max_seconds` come out, whatever the header says. A full disk is an OSError with ENOSPC or EDQUOT.
    """
    cpu_seconds = 30 + int(max_seconds / 20)
    request = {
        "limits": {
            "memory_bytes": CHILD_MEMORY_BYTES,
            "cpu_seconds": cpu_seconds,
            "file_bytes": (int(max_seconds) + 1) * SAMPLE_RATE * BYTES_PER_SAMPLE,
        },
        "output": {"folder": str(folder), "rate": SAMPLE_RATE, "split": split, "max_seconds": max_seconds},
    }
    try:
        answer = await _ask_child(path, request, timeout_seconds or 2 * cpu_seconds)
        info, seconds = MediaInfo(**answer["info"]), answer["samples"] / SAMPLE_RATE
        header_seconds = info.duration_seconds and info.duration_seconds - answer["skipped_seconds"]
        with _not_the_recordings_fault("the recording cannot be read"):
            announced = await asyncio.to_thread(announced_seconds, path, info.container, header_seconds, seconds)
    except BaseException:
        _remove_channels(folder)
        raise
    channels = tuple(PcmFile(folder / f"channel-{index}.pcm") for index in range(answer["channels"]))
    return DecodedAudio(info, seconds, channels, announced)


async def _ask_child(path: Path, request: dict[str, Any], timeout_seconds: float) -> dict[str, Any]:
    with _open_recording(path) as recording:
        starting = asyncio.create_task(_start_child(recording, json.dumps(request)))
        try:
            async with asyncio.timeout(timeout_seconds):
                return await _read_answer(await asyncio.shield(starting))
        except TimeoutError:  # a recording that is too costly meets its limit of CPU time first
            raise DecoderUnavailable(f"the decoder did not answer within {timeout_seconds:g} s") from None
        finally:
            await _despite_cancellation(_end_child(starting))


@contextmanager
def _not_the_recordings_fault(what: str) -> Iterator[None]:
    """Raises DecoderUnavailable instead of an OSError, unless that is a full disk's."""
    try:
        yield
    except DecoderUnavailable:
        raise
    except OSError as error:
        if is_disk_full(error):
            raise
        raise DecoderUnavailable(error.errno, f"{what}: {error.strerror or type(error).__name__}") from error


async def _despite_cancellation(work: Coroutine[Any, Any, None]) -> None:
    """Finish the work, then be cancelled if that was asked for meanwhile."""
    task, cancelled = asyncio.create_task(work), None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled


async def _start_child(recording: FileIO, request: str) -> Process:
    with _not_the_recordings_fault("the decoder cannot be started"):
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", str(CHILD), request),
            stdin=recording,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={},
            start_new_session=True,
        )


async def _end_child(starting: asyncio.Task[Process]) -> None:
    """Only returns when the child is gone. Under uvloop a cancelled start leaves a child that nobody waits for."""
    await asyncio.wait({starting})
    if starting.exception() is None and starting.result().returncode is None:
        with suppress(ProcessLookupError):
            starting.result().kill()
        await starting.result().communicate()


async def _read_answer(child: Process) -> dict[str, Any]:
    assert child.stdout is not None
    line = b""
    with suppress(ValueError):  # longer than any answer
        line = await child.stdout.readline()
    status = await child.wait()
    if -status in FATAL_SIGNALS:
        raise BadMedia(f"The recording could not be decoded: the decoder was stopped by {signal.Signals(-status).name}")
    if status < 0:
        raise DecoderUnavailable(f"the decoder was killed by {signal.Signals(-status).name}")
    if status > 0:
        raise DecoderUnavailable(f"the decoder failed with exit status {status}")
    try:
        answer: dict[str, Any] = json.loads(line)
    except ValueError:
        raise DecoderUnavailable("the decoder gave no answer") from None
    return _without_error(answer)


def _without_error(answer: dict[str, Any]) -> dict[str, Any]:
    """The child's answer, or what it raises."""
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
    with _not_the_recordings_fault("the recording cannot be opened"):
        recording = path.open("rb", buffering=0)
    if os.fstat(recording.fileno()).st_size == 0 and path.is_file():
        recording.close()
        raise UnsupportedMedia("The file is empty")
    return recording


def _remove_channels(folder: Path) -> None:
    for file in folder.glob("channel-*.pcm"):
        file.unlink(missing_ok=True)
