"""The recording of a claimed job: in the store already, or fetched first."""

from dataclasses import dataclass

import structlog
from sqlmodel.ext.asyncio.session import AsyncSession

from app.database.connections import DATABASE_TROUBLE, Database, is_bad_data
from app.database.retries import write_down
from app.jobs import erasure, queue
from app.jobs.models import Transcription
from app.sources.fetch import Fetcher
from app.storage.disk import full_disk_as_no_room
from app.storage.store import AudioStore, StoredAudio

ATTACH_PAUSES_SECONDS = (0.5, 1.0, 2.0, 4.0)

log = structlog.stdlib.get_logger("callscribe.jobs")


class NotWritten(Exception):
    """The database did not take down where a fetched recording is."""


@dataclass(frozen=True)
class Recordings:
    """Where the recordings of jobs are, and where those come from that are not there yet."""

    database: Database
    store: AudioStore
    fetcher: Fetcher

    async def obtain(self, job: Transcription) -> str | None:
        """The key of the job's recording; None where the job is not the worker's any more.

        A fetched recording is written to the row, so that later attempts need not fetch it. Raises NotWritten, and
        what the fetcher raises.
        """
        if job.audio_key is not None:
            return job.audio_key
        key = str(job.lease_token)  # of this attempt alone: one that was thought dead may still be writing
        with full_disk_as_no_room():
            audio = await self.fetcher.fetch(job.source, key)
        log.info("recording fetched", bytes=audio.bytes)
        job.audio_key = key
        return key if await self._attach(job, audio) else None

    async def is_there_room(self) -> bool:
        """Whether a recording of no particular size could be fetched now."""
        return await self.fetcher.has_room()

    async def _attach(self, job: Transcription, audio: StoredAudio) -> bool:
        """Write the recording to the row, through connection loss; erase what no row needs. Raises NotWritten."""

        async def attach(session: AsyncSession) -> tuple[bool, set[str]]:
            attached = await queue.attach_audio(session, job, audio)
            return attached, await erasure.needed_audio(session, [audio.key])

        try:
            attached, needed = await write_down(self.database, attach, ATTACH_PAUSES_SECONDS)
        except DATABASE_TROUBLE as error:
            if is_bad_data(error):  # else it may be written, and only the answer was lost
                await self.store.delete(audio.key)
            raise NotWritten(f"not written to its job: {type(error).__name__}") from error
        if not needed:
            await self.store.delete(audio.key)
        return attached
