"""A claimed job while its worker works on it."""

from dataclasses import dataclass

from app.jobs.claims.capacity import Held
from app.jobs.claims.claiming import Claimed


@dataclass(eq=False)
class Running:
    """A claimed job, until its end is recorded. `started` is in seconds, by the clock of `time.monotonic`.

    `audio_key` names the recording in the store, as soon as it has been fetched. `asked_to_stop` says that the worker
    wants no more work on the job. `shows_fitness` marks a job that was claimed on probation, with which the worker has
    to show that it can work.
    """

    job: Claimed
    started: float
    shows_fitness: bool
    progress: float = 0.0
    asked_to_stop: bool = False

    def __post_init__(self) -> None:
        self.audio_key = self.job.audio_key
        self.redacted_key: str | None = None  # set before the recording is stored, so that nothing stays if that fails

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


class LeaseLost:
    """The end of an attempt on a job that is not this worker's any more. Nothing is written."""
