"""Chooses a running job that returns to the queue, because a job of another API key should have its place.

Only one job at a time makes way, and only if the other job would really get the place.
"""

from collections import Counter
from collections.abc import Sequence

from sqlmodel.ext.asyncio.session import AsyncSession

from app.jobs import queue
from app.jobs.capacity import Capacity
from app.jobs.lifecycle import Interrupted, Outcome, SlowFetch, longest_fetch_seconds
from app.jobs.running import Running


async def who_makes_way(
    session: AsyncSession, running: Sequence[Running], slots: Capacity, fetches: Capacity, now: float
) -> list[tuple[Running, Outcome]]:
    """The jobs to stop, and the outcome of each.

    If no place is left, a job makes way for a more urgent job of another key, and a slow fetch makes way for any job
    of another key that waits to be fetched.
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
    slow = slowest_fetch(fetched, now)
    if fetches.crowded and slow is not None and await queue.another_waits_to_fetch(session, slow.job, fetches):
        leaving.append((slow, SlowFetch()))
    return leaving


def least_urgent(running: Sequence[Running]) -> Running | None:
    """The job that loses least if it returns: of the least urgent priority, the one with the least progress.

    Returns None while another job is on its way back to the queue.
    """
    if any(each.stopped for each in running):
        return None
    return max(running, key=lambda each: (each.job.priority, -each.progress, each.started), default=None)


def slowest_fetch(running: Sequence[Running], now: float) -> Running | None:
    """The slowest fetch of the key with the most fetches, if it takes longer than it may while other keys wait.

    Returns None while another job is on its way back to the queue.
    """
    if any(each.stopped for each in running):
        return None
    fetches = [each for each in running if each.is_being_fetched]
    of_key = Counter(each.job.caller for each in fetches)
    slow = [each for each in fetches if now - each.started >= longest_fetch_seconds(each.job.slow_fetches)]
    return max(slow, key=lambda each: (of_key[each.job.caller], now - each.started), default=None)
