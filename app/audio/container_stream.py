"""Decodes a recording in a container while its bytes come, as a browser sends them during a live call.

It exists because `decode.py` needs the whole file. The same program decodes here, behind the same fence, and gets the
bytes through a pipe. The files of samples grow until the recording ends.
"""

import asyncio
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from app.audio.decode import PROGRAM, limits_for, without_error
from app.audio.decoder_process import DecoderUnavailable, fed, read_answer
from app.audio.pcm import SAMPLE_RATE, PcmFile
from app.errors import BadMedia

MOST_CHANNELS = 2
PIECE_BYTES = 1 << 16
ANSWER_SECONDS = 30.0
"""How long the decoder may take for a piece, or for the end of the recording."""


@asynccontextmanager
async def open_container_stream(
    folder: Path, *, max_seconds: float, most_channels: int = MOST_CHANNELS
) -> AsyncIterator["ContainerStream"]:
    """A decoder that writes to `folder`. After the block, its process and its files are gone.

    A track with more than `most_channels` is mixed to one channel.

    Raises DecoderUnavailable if it cannot be started.
    """
    request = {
        "follows": True,
        "limits": limits_for(max_seconds),
        "output": {
            "folder": str(folder),
            "rate": SAMPLE_RATE,
            "max_seconds": max_seconds,
            "most_channels": most_channels,
        },
    }
    try:
        async with fed(PROGRAM, request) as process:
            stream = ContainerStream(process, folder, int(max_seconds * SAMPLE_RATE), most_channels)
            try:
                yield stream
            finally:
                await stream.stop_reading()
    finally:
        for channel in range(most_channels):
            _path(folder, channel).unlink(missing_ok=True)


class ContainerStream:
    """A recording that is decoded while it comes.

    `files` has a file for each channel, and is empty until the header of the recording is read.
    `samples` is how far all files have grown.
    """

    def __init__(self, process: Process, folder: Path, most_samples: int, most_channels: int) -> None:
        assert process.stdin is not None
        self.files: tuple[PcmFile, ...] = ()
        self.samples = 0
        self._folder = folder
        self._most_samples = most_samples
        self._most_channels = most_channels
        self._pipe = process.stdin
        self._came_bytes = False
        self._reading = asyncio.create_task(read_answer(process, self._hear))

    async def write(self, raw: bytes) -> None:
        """Give the decoder further bytes of the recording, and wait until it has room for more.

        Raises UnsupportedMedia, NoAudio, BadMedia or TooLong, as `decode` does, and OSError if the recording is not to
        blame. After an error, nothing can be written any more.
        """
        self._came_bytes |= bool(raw)
        for start in range(0, len(raw), PIECE_BYTES):
            if self._reading.done():
                self._raise_the_end()
            self._pipe.write(raw[start : start + PIECE_BYTES])
            draining = asyncio.create_task(self._pipe.drain())
            try:
                await asyncio.wait(
                    {draining, self._reading}, timeout=ANSWER_SECONDS, return_when=asyncio.FIRST_COMPLETED
                )
                if not draining.done() and not self._reading.done():
                    raise DecoderUnavailable(f"the decoder took nothing for {ANSWER_SECONDS:g} s")
                if draining.done() and draining.exception() is not None:
                    await self._wait_for_the_end()  # the decoder closed the pipe, and says why
            finally:
                draining.cancel()
                with suppress(asyncio.CancelledError, OSError):
                    await draining
        if self._reading.done():
            self._raise_the_end()

    async def finish(self) -> None:
        """No more bytes come. Returns when everything is decoded. Raises what `write` raises."""
        if not self._came_bytes:
            return
        if self._reading.done():
            self._raise_the_end()
        self._pipe.close()
        await self._wait_for_the_end()
        without_error(self._reading.result())

    async def stop_reading(self) -> None:
        self._pipe.close()
        self._reading.cancel()
        await asyncio.wait({self._reading})
        if not self._reading.cancelled():
            self._reading.exception()  # it was raised by `write` if anybody wrote

    async def _wait_for_the_end(self) -> None:
        await asyncio.wait({self._reading}, timeout=ANSWER_SECONDS)
        if not self._reading.done():
            raise DecoderUnavailable(f"the decoder did not answer within {ANSWER_SECONDS:g} s")

    def _raise_the_end(self) -> None:
        """The decoder has ended although the recording goes on."""
        without_error(self._reading.result())
        raise BadMedia("The recording is broken")

    def _hear(self, progress: Any) -> None:
        """Believe the progress as far as it can be true, because the recording may have taken over the decoder."""
        with suppress(TypeError, ValueError, OverflowError):
            channels, samples = (int(number) for number in progress)
            count = max(len(self.files), min(channels, self._most_channels))
            self.files = tuple(PcmFile(_path(self._folder, channel)) for channel in range(count))
            self.samples = max(self.samples, min(samples, self._most_samples))


def _path(folder: Path, channel: int) -> Path:
    return folder / f"channel-{channel}.pcm"
