"""Runs the decoder in its own process, and decides whose fault it is if that process fails.

It exists because FFmpeg may crash, hang or be taken over by a recording. The process has an empty environment and its
own session. It gets the recording as an open file, never a path or a name. The meaning of requests and answers belongs
to `decode.py` and `decoder/`.
"""

import asyncio
import json
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import Any

from app.errors import BadMedia
from app.storage.disk import is_disk_full

FATAL_SIGNALS = frozenset(  # a recording can cause these; any other signal came from outside
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
    """The decoder could not do its work, and the recording is not to blame. A later try may succeed.

    The decoder's process could not be started, was killed from outside, ended without an answer, or ran out of time
    although it had CPU time left. Or it could not read the recording's file or write to our folder, or the machine had
    no memory for it. A full disk raises an OSError with ENOSPC or EDQUOT instead.
    """


@contextmanager
def not_the_recordings_fault(what: str) -> Iterator[None]:
    """Raises DecoderUnavailable instead of an OSError, unless the disk is full. `what` begins the error's text."""
    try:
        yield
    except DecoderUnavailable:
        raise
    except OSError as error:
        if is_disk_full(error):
            raise
        raise DecoderUnavailable(error.errno, f"{what}: {error.strerror or type(error).__name__}") from error


async def ask(program: Path, recording: FileIO, request: dict[str, Any], timeout_seconds: float) -> dict[str, Any]:
    """Start the program, send it the request and return its answer.

    The process is gone when this returns or raises, also after a cancellation. Raises BadMedia if the process was ended
    by a signal that a recording can cause, and DecoderUnavailable for any other failure.
    """
    starting = asyncio.create_task(_start(program, recording, json.dumps(request)))
    try:
        async with asyncio.timeout(timeout_seconds):
            return await read_answer(await asyncio.shield(starting))
    except TimeoutError:  # a recording that is too expensive reaches its limit of CPU time first
        raise DecoderUnavailable(f"the decoder did not answer within {timeout_seconds:g} s") from None
    finally:
        await _despite_cancellation(_end(starting))


@asynccontextmanager
async def fed(program: Path, request: dict[str, Any]) -> AsyncIterator[Process]:
    """Start the program with a pipe as its recording. The process is gone after the block. Raises DecoderUnavailable.

    Nobody may be reading from the process any more when the block ends.
    """
    starting = asyncio.create_task(_start(program, asyncio.subprocess.PIPE, json.dumps(request)))
    try:
        yield await asyncio.shield(starting)
    finally:
        await _despite_cancellation(_end(starting))


async def _despite_cancellation(work: Coroutine[Any, Any, None]) -> None:
    """Do the work to its end. Then raise CancelledError if this task was cancelled meanwhile."""
    task, cancelled = asyncio.create_task(work), None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled


async def _start(program: Path, recording: FileIO | int, request: str) -> Process:
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
    """Kill the process and wait until it is gone.

    This first waits for the end of its start, because uvloop never waits for a process whose start was cancelled.
    """
    await asyncio.wait({starting})
    if starting.exception() is None and starting.result().returncode is None:
        with suppress(ProcessLookupError):
            starting.result().kill()
        await starting.result().communicate()


async def read_answer(process: Process, hear: Callable[[Any], None] | None = None) -> dict[str, Any]:
    """Returns the first and the last line of the program as one mapping. `hear` gets the progress that it tells.

    The first line shows that the process got as far as the recording. Without it, the recording is not to blame.
    """
    first = await _read_line(process)
    answer = await _read_line(process) if "contained_by" in first else first
    while hear is not None and "progress" in answer:
        hear(answer["progress"])
        answer = await _read_line(process)
    status = await process.wait()
    if -status in FATAL_SIGNALS and "contained_by" in first:
        raise BadMedia(f"The recording could not be decoded: the decoder was stopped by {_name(-status)}")
    if status < 0:
        raise DecoderUnavailable(f"the decoder was killed by {_name(-status)}")
    if status > 0:
        raise DecoderUnavailable(f"the decoder failed with exit status {status}")
    if not answer:
        raise DecoderUnavailable("the decoder gave no answer")
    return first | answer


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"


async def _read_line(process: Process) -> dict[str, Any]:
    """Returns the next line that the program prints, or an empty mapping if there is none or it cannot be read."""
    assert process.stdout is not None
    try:
        line = json.loads(await process.stdout.readline())
    except ValueError:  # also for a line that is longer than any answer
        return {}
    return line if isinstance(line, dict) else {}
