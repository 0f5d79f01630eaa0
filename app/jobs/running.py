"""A job that a worker has claimed and not ended."""

import asyncio
from dataclasses import dataclass
from uuid import UUID

from app.jobs.capacity import Held
from app.jobs.lifecycle import Outcome
from app.jobs.models import Transcription


@dataclass(eq=False)
class Running:
    """A claimed job at work. Once `stopped`, it ends with `outcome`, or with nothing when the lease is lost.

    `shows_fitness` where it was claimed by a worker that has to show first that it can do a job.
    """

    job: Transcription
    token: UUID
    came_with_recording: bool
    started: float
    work: asyncio.Task[Outcome]
    shows_fitness: bool
    progress: float = 0.0
    stopped: bool = False
    outcome: Outcome | None = None

    def stop(self, outcome: Outcome | None) -> None:
        if not self.stopped:
            self.stopped, self.outcome = True, outcome
            self.work.cancel()

    @property
    def is_being_fetched(self) -> bool:
        return self.job.audio_key is None

    @property
    def held(self) -> Held:
        fetching = (self.job.source_host or "") if self.is_being_fetched else None
        return Held(self.job.caller, self.came_with_recording, fetching)
