"""Chooses a running job that returns to the queue, because a job of another API key should have its place.

Of each kind (with a stored recording, or to be fetched), one job at a time makes way, and only if the other job would
get the place: its key and host have capacity, and no more urgent job of the running job's own key would get it first.
"""

from collections import Counter
from collections.abc import Sequence

from sqlmodel.ext.asyncio.session import AsyncSession

from app.jobs import queue
from app.jobs.capacity import FETCHES, Capacity
from app.jobs.lifecycle import Interrupted, Outcome, SlowFetch, longest_fetch_seconds
from app.jobs.running import Running

Leaving = tuple[Running, Outcome]


async def who_makes_way(
    session: AsyncSession, running: Sequence[Running], slots: Capacity, fetches: Capacity, now: float
) -> list[Leaving]:
    """The jobs to stop, and the outcome of each.

    If no place is left, a job makes way for a more urgent job of another key, and a slow fetch makes way for any job
    of another key that waits to be fetched.
    """
    stored = [each for each in running if each.came_with_recording]
    unstored = [each for each in running if not each.came_with_recording]
    being_fetched = [each for each in unstored if each.is_being_fetched]
    leaving: list[Leaving | None] = []
    if slots.crowded and not _is_one_leaving(stored):
        leaving.append(await _less_urgent(session, stored, slots, to_fetch=False))
    if fetches.crowded and not _is_one_leaving(unstored):
        # If the fetches hold all places of fetches, a job that has been fetched would free none of them.
        holders = being_fetched if len(being_fetched) >= FETCHES else unstored
        leaving.append(
            await _less_urgent(session, holders, fetches, to_fetch=True)
            or await _slow(session, being_fetched, fetches, now)
        )
    return [each for each in leaving if each is not None]


def _is_one_leaving(running: Sequence[Running]) -> bool:
    return any(each.asked_to_stop for each in running)


async def _less_urgent(
    session: AsyncSession, running: Sequence[Running], capacity: Capacity, *, to_fetch: bool
) -> Leaving | None:
    chosen = least_urgent(running)
    if chosen is None or not await queue.more_urgent_waits(session, chosen.job, capacity, to_fetch=to_fetch):
        return None
    return chosen, Interrupted()


async def _slow(session: AsyncSession, fetches: Sequence[Running], capacity: Capacity, now: float) -> Leaving | None:
    chosen = slowest_fetch(fetches, now)
    if chosen is None or not await queue.another_waits_to_fetch(session, chosen.job, capacity):
        return None
    return chosen, SlowFetch()


def least_urgent(running: Sequence[Running]) -> Running | None:
    """The job that loses least if it returns: of the least urgent priority, the one with the least progress."""
    return max(running, key=lambda each: (each.job.priority, -each.progress, each.started), default=None)


def slowest_fetch(fetches: Sequence[Running], now: float) -> Running | None:
    """The fetch to stop, of those that take longer than they may while other keys wait. None if there is none.

    It is the slowest fetch of the key that has the most such fetches.
    """
    slow = [each for each in fetches if now - each.started >= longest_fetch_seconds(each.job.slow_fetches)]
    of_key = Counter(each.job.caller for each in slow)
    return max(slow, key=lambda each: (of_key[each.job.caller], now - each.started), default=None)
