"""The recording of a claimed job: fetched into the store if it is not there yet, then decoded into PCM files.

`blame` decides what its errors mean for the job.
"""

import asyncio
import errno
import time
import wave
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import structlog
from sqlmodel.ext.asyncio.session import AsyncSession

from app import metrics, tracing
from app.audio.decode import DecodedAudio, decode
from app.audio.raw import raw_sound
from app.database.connections import DATABASE_TROUBLE, Database, is_bad_data
from app.database.retries import write_down
from app.errors import InsufficientStorage
from app.jobs.claims import queue
from app.jobs.claims.claiming import Claimed
from app.jobs.upkeep import erasure
from app.process.places import FairPlaces, Rank
from app.process.shares import Shares
from app.sources.fetch import Fetched, Fetcher
from app.sources.names import last_component, shown_name
from app.storage.disk import FreeSpace, full_disk_as_insufficient_storage
from app.storage.store import AudioStore
from app.storage.workspace import Workspace
from app.transcripts.transcript import Options

PLACES = 3
PLACES_OF_ONE_KEY = 2  # the third is for another key, whose short call need not wait for hours of audio
LOOK_SECONDS = 1.0
TRIAL_SECONDS = 20.0
ATTACH_PAUSES_SECONDS = (0.5, 1.0, 2.0, 4.0)

log = structlog.stdlib.get_logger("callscribe.jobs")


class NotWritten(Exception):
    """The database did not store where a fetched recording is."""


@dataclass(frozen=True)
class Decoded:
    """What a recording holds, and the seconds that it took to find out."""

    audio: DecodedAudio
    seconds: float


class Decoder:
    """Decodes recordings of `store` into `workspace`, few at the same time, while there is `free_space`."""

    def __init__(
        self,
        store: AudioStore,
        workspace: Workspace,
        free_space: FreeSpace,
        *,
        max_audio_seconds: float,
        shares: Shares | None = None,
    ) -> None:
        self._store = store
        self._workspace = workspace
        self.free_space = free_space
        self._max_audio_seconds = max_audio_seconds
        self._places = FairPlaces(PLACES, PLACES_OF_ONE_KEY, shares)

    @asynccontextmanager
    async def decoded(self, key: str, rank: Rank, options: Options, filename: str | None) -> AsyncIterator[Decoded]:
        """Decode the recording's channels, or their mix, into files that exist until the end of the block.

        Raises what `decode` and the store raise. If the disk has too little space, raises OSError, as a full disk does.
        """
        async with self._workspace.folder() as folder:
            async with self._places.place(rank):
                await self._require_space()
                async with self._store.local_path(key) as path:
                    started = time.monotonic()
                    with tracing.span("decode") as span:
                        audio = await self._while_there_is_space(
                            decode(
                                path,
                                folder,
                                raw_sound(options, filename),
                                split=options.channels == "split",
                                max_seconds=self._max_audio_seconds,
                            )
                        )
                        tracing.describe(span, callscribe__audio__seconds=audio.duration_seconds)
                    seconds = time.monotonic() - started
            yield Decoded(audio, seconds)

    async def try_out(self) -> None:
        """Decode a recording that is known to be good. Any error means that the worker itself has trouble."""
        await self._require_space()
        await self._workspace.check()
        async with self._workspace.folder() as folder:
            recording = folder / "trial.wav"
            await asyncio.to_thread(_write_silence, recording)
            await decode(recording, folder, split=False, max_seconds=60.0, timeout_seconds=TRIAL_SECONDS)

    async def _require_space(self) -> None:
        try:
            await self.free_space.require()
        except InsufficientStorage:
            raise OSError(errno.ENOSPC, "too little space for decoded audio") from None

    async def _while_there_is_space(self, decoding: Coroutine[Any, Any, DecodedAudio]) -> DecodedAudio:
        """Watch the disk while decoding, because a few kilobytes may hold hours of silence."""
        task = asyncio.create_task(decoding)
        try:
            while not (await asyncio.wait({task}, timeout=LOOK_SECONDS))[0]:
                await self._require_space()
            return task.result()
        finally:
            task.cancel()
            await asyncio.wait({task})


@dataclass(frozen=True)
class Recordings:
    """The recordings of jobs. Brings them into the store, from where `decoder` decodes them."""

    database: Database
    store: AudioStore
    fetcher: Fetcher
    decoder: Decoder

    async def fetch(self, job: Claimed) -> Fetched:
        """Fetch the recording into the store. Raises what the fetcher raises.

        If the client has named the recording, the name that its server sends is dropped.
        """
        with tracing.span("fetch") as span, full_disk_as_insufficient_storage():
            # The key belongs to this attempt, because an earlier one that seemed dead may still be writing.
            started = time.monotonic()
            fetched = await self.fetcher.fetch(job.source, str(job.lease_token))
            tracing.describe(span, callscribe__bytes=fetched.audio.bytes)
        metrics.job_stage("fetch", time.monotonic() - started)
        log.info("recording fetched", bytes=fetched.audio.bytes)
        named_by_client = job.filename not in (None, shown_name(last_component(job.source)))
        return replace(fetched, filename=None) if named_by_client else fetched

    async def is_there_space(self) -> bool:
        """Whether the disk has space for a recording now, whatever its size turns out to be."""
        return await self.fetcher.has_space()

    async def attach(self, job: Claimed, fetched: Fetched) -> bool:
        """Write to the row where the recording is and what its name is, so that later attempts need not fetch it.

        Tries again if the connection is lost. Erases the recording if no row needs it. Returns whether this worker
        still has the job. Raises NotWritten.
        """
        audio = fetched.audio

        async def attach(session: AsyncSession) -> tuple[bool, set[str]]:
            attached = await queue.attach_audio(session, job, audio, fetched.filename)
            return attached, await erasure.needed_audio(session, [audio.key])

        try:
            attached, needed = await write_down(self.database, attach, ATTACH_PAUSES_SECONDS)
        except DATABASE_TROUBLE as error:
            if is_bad_data(error):  # after any other error it may be written, and only the reply was lost
                await self.store.delete(audio.key)
            raise NotWritten(f"not written to its job: {type(error).__name__}") from error
        if not needed:
            await self.store.delete(audio.key)
        return attached


def _write_silence(path: Path) -> None:
    with wave.open(str(path), "wb") as recording:
        recording.setparams((1, 2, 8000, 0, "NONE", ""))
        recording.writeframes(bytes(16_000))
