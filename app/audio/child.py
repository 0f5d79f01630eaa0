"""Runs the decoder's child process and tells apart how it ends: by the recording's fault, or by another's.

The child has no environment, a session of its own, and gets the recording as an open file, never a path or a name.
What is asked and answered is the business of `decode.py` and `decode_child.py`.
"""

import asyncio
import json
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import Any

from app.errors import BadMedia
from app.storage.disk import is_disk_full

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


class DecoderUnavailable(OSError):
    """The decoder could not do its work, and the recording is not to blame.

    The child could not be started, was killed from outside, ended without an answer or ran out of time while the CPU
    time allowed was not used up; or it could not read the recording's file or write to our folder; or the machine had
    no memory for it. The same recording may be decoded well later, or by another worker. A full disk is not among
    these: it is an OSError with ENOSPC or EDQUOT.
    """


@contextmanager
def not_the_recordings_fault(what: str) -> Iterator[None]:
    """Raises DecoderUnavailable instead of an OSError, unless that is a full disk's."""
    try:
        yield
    except DecoderUnavailable:
        raise
    except OSError as error:
        if is_disk_full(error):
            raise
        raise DecoderUnavailable(error.errno, f"{what}: {error.strerror or type(error).__name__}") from error


async def ask(program: Path, recording: FileIO, request: dict[str, Any], timeout_seconds: float) -> dict[str, Any]:
    """What the program answers. Its child is gone when this returns, also when it is cancelled.

    Raises BadMedia where a signal ended the child that a recording can bring about, else DecoderUnavailable.
    """
    starting = asyncio.create_task(_start(program, recording, json.dumps(request)))
    try:
        async with asyncio.timeout(timeout_seconds):
            return await _read_answer(await asyncio.shield(starting))
    except TimeoutError:  # a recording that is too costly meets its limit of CPU time first
        raise DecoderUnavailable(f"the decoder did not answer within {timeout_seconds:g} s") from None
    finally:
        await _despite_cancellation(_end(starting))


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


async def _start(program: Path, recording: FileIO, request: str) -> Process:
    with not_the_recordings_fault("the decoder cannot be started"):
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", str(program), request),
            stdin=recording,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={},
            start_new_session=True,
        )


async def _end(starting: asyncio.Task[Process]) -> None:
    """Only returns when the child is gone. Under uvloop a cancelled start leaves a child that nobody waits for."""
    await asyncio.wait({starting})
    if starting.exception() is None and starting.result().returncode is None:
        with suppress(ProcessLookupError):
            starting.result().kill()
        await starting.result().communicate()


async def _read_answer(child: Process) -> dict[str, Any]:
    """The last line; the one before it says what holds the child, and that it has come as far as the recording."""
    held_by = await _read_line(child)
    answer = await _read_line(child) if "held_by" in held_by else held_by
    status = await child.wait()
    if -status in FATAL_SIGNALS and "held_by" in held_by:
        raise BadMedia(f"The recording could not be decoded: the decoder was stopped by {_name(-status)}")
    if status < 0:
        raise DecoderUnavailable(f"the decoder was killed by {_name(-status)}")
    if status > 0:
        raise DecoderUnavailable(f"the decoder failed with exit status {status}")
    if not answer:
        raise DecoderUnavailable("the decoder gave no answer")
    return held_by | answer


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"


async def _read_line(child: Process) -> dict[str, Any]:
    """Empty where there is none, or another than was agreed."""
    assert child.stdout is not None
    try:
        line = json.loads(await child.stdout.readline())
    except ValueError:  # also for a line that is longer than any answer
        return {}
    return line if isinstance(line, dict) else {}
