"""A job that this worker has claimed and whose end it has not recorded yet."""

from dataclasses import dataclass
from uuid import UUID

from app.jobs.capacity import Held
from app.jobs.models import Transcription


@dataclass(eq=False)
class Running:
    """A claimed job. `stopped` says that the job makes way for another one.

    `shows_fitness` marks a job that was claimed on probation: the worker has to show with it that it can work.
    """

    job: Transcription
    started: float
    shows_fitness: bool
    progress: float = 0.0
    stopped: bool = False

    def __post_init__(self) -> None:
        self.came_with_recording = self.job.audio_key is not None

    @property
    def token(self) -> UUID:
        assert self.job.lease_token is not None
        return self.job.lease_token

    def set_progress(self, progress: float) -> None:
        self.progress = progress

    @property
    def is_being_fetched(self) -> bool:
        return self.job.audio_key is None

    @property
    def held(self) -> Held:
        fetching = (self.job.source_host or "") if self.is_being_fetched else None
        return Held(self.job.caller, self.came_with_recording, fetching)
