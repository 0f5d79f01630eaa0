"""The jobs that a worker has claimed and not ended, and which of them makes way for another."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from app.jobs.lifecycle import Outcome
from app.jobs.models import Transcription
from app.jobs.places import Held

LONGEST_FETCH_SECONDS = 120.0  # while another key waits for a place


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


def least_urgent(running: Sequence[Running]) -> Running | None:
    """The job that loses least by going back: of the least urgent priority, the one with the least done.

    None where a job is on its way back already.
    """
    if any(each.stopped for each in running):
        return None
    return max(running, key=lambda each: (each.job.priority, -each.progress, each.started), default=None)


def longest_fetch(running: Sequence[Running], now: float) -> Running | None:
    """The job whose server has been sending for longest, if that is too long while others wait.

    None where a job is on its way back already.
    """
    if any(each.stopped for each in running):
        return None
    slow = [each for each in running if each.is_being_fetched and now - each.started >= LONGEST_FETCH_SECONDS]
    return min(slow, key=lambda each: each.started, default=None)
