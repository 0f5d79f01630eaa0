"""A claimed job while its worker works on it."""

from dataclasses import dataclass

from app.jobs.capacity import Held
from app.jobs.claiming import Claimed


@dataclass(eq=False)
class Running:
    """A claimed job, until its end is recorded. `started` is in seconds, by the clock of `time.monotonic`.

    `stopped` says that the worker has ended the work on the job. `shows_fitness` marks a job that was claimed on
    probation: the worker has to show with it that it can work.
    """

    job: Claimed
    started: float
    shows_fitness: bool
    progress: float = 0.0
    stopped: bool = False

    def __post_init__(self) -> None:
        self.audio_key = self.job.audio_key

    @property
    def came_with_recording(self) -> bool:
        return self.job.audio_key is not None

    @property
    def is_being_fetched(self) -> bool:
        return self.audio_key is None

    @property
    def held(self) -> Held:
        """The place that this job holds, for `capacity`."""
        fetching = (self.job.source_host or "") if self.is_being_fetched else None
        return Held(self.job.caller, self.came_with_recording, fetching)

    def set_progress(self, progress: float) -> None:
        self.progress = progress
