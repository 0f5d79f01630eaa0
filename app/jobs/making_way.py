"""Chooses a running job that returns to the queue, because a job of another key should have its place.

One job returns at a time, and only if the other job would get the place.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from sqlmodel.ext.asyncio.session import AsyncSession

from app.jobs import queue
from app.jobs.capacity import Capacity, Held
from app.jobs.claiming import Claimed
from app.jobs.lifecycle import Hindered, Interrupted, Outcome

LONGEST_FETCH_SECONDS = 120.0  # after that, a fetch makes way if another key waits
LONGER = 4  # the factor for each time that a job has made way
CROWDED = Hindered()


@dataclass(eq=False)
class Running:
    """A claimed job, until its end is recorded. `stopped` says that the worker has ended the work on it.

    `shows_fitness` marks a job that was claimed on probation: the worker has to show with it that it can work.
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

    def set_progress(self, progress: float) -> None:
        self.progress = progress

    @property
    def is_being_fetched(self) -> bool:
        return self.audio_key is None

    @property
    def held(self) -> Held:
        fetching = (self.job.source_host or "") if self.is_being_fetched else None
        return Held(self.job.caller, self.came_with_recording, fetching)


async def who_makes_way(
    session: AsyncSession, running: Sequence[Running], slots: Capacity, fetches: Capacity, now: float
) -> list[tuple[Running, Outcome]]:
    """The jobs to stop, and the outcome of each.

    If no place is left, a job makes way for a more urgent one of another key, and a slow fetch for one of another key.
    """
    leaving: list[tuple[Running, Outcome]] = []
    uploads = [each for each in running if each.came_with_recording]
    fetched = [each for each in running if not each.came_with_recording]
    for capacity, kind in ((slots, uploads), (fetches, fetched)):
        chosen = least_urgent(kind)
        if (
            capacity.crowded
            and chosen is not None
            and await queue.more_urgent_waits(session, chosen.job, capacity, to_fetch=chosen.is_being_fetched)
        ):
            leaving.append((chosen, Interrupted()))
    slow = longest_fetch(fetched, now)
    if fetches.crowded and slow is not None and await queue.another_waits_to_fetch(session, slow.job, fetches):
        leaving.append((slow, CROWDED))
    return leaving


def least_urgent(running: Sequence[Running]) -> Running | None:
    """The job that loses least if it returns: the one of the least urgent priority with the least progress.

    None if a job is already returning.
    """
    if any(each.stopped for each in running):
        return None
    return max(running, key=lambda each: (each.job.priority, -each.progress, each.started), default=None)


def longest_fetch(running: Sequence[Running], now: float) -> Running | None:
    """The slowest fetch of the key with the most fetches, if it takes longer than it may while others wait.

    A job may take longer each time, so that a large recording is fetched in the end. None if a job is already
    returning.
    """
    if any(each.stopped for each in running):
        return None
    fetches = [each for each in running if each.is_being_fetched]
    of_key = Counter(each.job.caller for each in fetches)
    slow = [each for each in fetches if now - each.started >= LONGEST_FETCH_SECONDS * LONGER**each.job.interruptions]
    return max(slow, key=lambda each: (of_key[each.job.caller], now - each.started), default=None)
