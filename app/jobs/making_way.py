"""Which running job goes back where another key's job waits for its place. One at a time, and none for nothing."""

from collections import Counter
from collections.abc import Sequence

from sqlmodel.ext.asyncio.session import AsyncSession

from app.jobs import queue
from app.jobs.capacity import Room
from app.jobs.lifecycle import Hindered, Interrupted, Outcome
from app.jobs.running import Running

LONGEST_FETCH_SECONDS = 120.0  # while another key waits for a place; four times as long after each time it made way
LONGER = 4
CROWDED = Hindered()


async def who_makes_way(
    session: AsyncSession, running: Sequence[Running], slots: Room, fetches: Room, now: float
) -> list[tuple[Running, Outcome]]:
    """The jobs to stop, and the outcome of each.

    If no place is left, a job makes way for a more urgent one of another key, and a slow fetch for one of another key.
    """
    leaving: list[tuple[Running, Outcome]] = []
    uploads = [each for each in running if each.came_with_recording]
    fetched = [each for each in running if not each.came_with_recording]
    for room, kind in ((slots, uploads), (fetches, fetched)):
        chosen = least_urgent(kind)
        if room.crowded and chosen is not None and await queue.more_urgent_waits(session, chosen.job, room):
            leaving.append((chosen, Interrupted()))
    slow = longest_fetch(fetched, now)
    if fetches.crowded and slow is not None and await queue.another_waits_to_fetch(session, slow.job, fetches):
        leaving.append((slow, CROWDED))
    return leaving


def least_urgent(running: Sequence[Running]) -> Running | None:
    """The job that loses least by going back: of the least urgent priority, the one with the least done.

    None where a job is on its way back already.
    """
    if any(each.stopped for each in running):
        return None
    return max(running, key=lambda each: (each.job.priority, -each.progress, each.started), default=None)


def longest_fetch(running: Sequence[Running], now: float) -> Running | None:
    """The job of the key with the most fetches whose server has been sending for longest, if that is too long while
    others wait.

    A job may take longer each time, so that a large recording comes through in the end. None where a job is on its
    way back already.
    """
    if any(each.stopped for each in running):
        return None
    fetches = [each for each in running if each.is_being_fetched]
    of_key = Counter(each.job.caller for each in fetches)
    slow = [each for each in fetches if now - each.started >= LONGEST_FETCH_SECONDS * LONGER**each.job.interruptions]
    return max(slow, key=lambda each: (of_key[each.job.caller], now - each.started), default=None)
