"""Chooses a running job that returns to the queue, because a job of another API key should have its place.

Of each kind (with a stored recording, or to be fetched), one job at a time makes way, and only if the other job would
get the place: its tenant, key and host have capacity, and no more urgent job of the running job's own key would get it
first. A tenant that holds all it may hold is like a worker without a place, for its own keys.
"""

from collections import Counter
from collections.abc import Sequence

from sqlmodel.ext.asyncio.session import AsyncSession

from app.jobs.claims import queue
from app.jobs.claims.capacity import FETCHES, Capacity, share_of_one
from app.jobs.lifecycle import Interrupted, Outcome, SlowFetch, longest_fetch_seconds
from app.jobs.worker.running import Running

Leaving = tuple[Running, Outcome]


async def who_makes_way(
    session: AsyncSession, running: Sequence[Running], slots: Capacity, fetches: Capacity, now: float
) -> list[Leaving]:
    """The jobs to stop, and the outcome of each.

    If no place is left, at all or to a tenant, a job makes way for a more urgent job of another key, and a slow fetch
    makes way for any job of another key that waits to be fetched.
    """
    stored = [each for each in running if each.came_with_recording]
    unstored = [each for each in running if not each.came_with_recording]
    leaving: Leaving | None = None
    fetch_leaving: Leaving | None = None
    for only_tenant in [] if _is_one_leaving(stored) else _crowded(slots):
        leaving = leaving or await _less_urgent(session, stored, slots, only_tenant, to_fetch=False)
    for only_tenant in [] if _is_one_leaving(unstored) else _crowded(fetches):
        fetch_leaving = fetch_leaving or await _fetch(session, unstored, fetches, only_tenant, now)
    return [each for each in (leaving, fetch_leaving) if each is not None]


def _is_one_leaving(running: Sequence[Running]) -> bool:
    return any(each.asked_to_stop for each in running)


def _crowded(capacity: Capacity) -> Sequence[str | None]:
    """The tenants that hold all they may hold. If no place is left at all, [None], which stands for all tenants."""
    return [None] if capacity.crowded else [tenant for tenant, left in capacity.of_tenant.items() if left == 0]


async def _fetch(
    session: AsyncSession, unstored: Sequence[Running], capacity: Capacity, only_tenant: str | None, now: float
) -> Leaving | None:
    being_fetched = [each for each in unstored if each.is_being_fetched]
    # If the fetches hold all places of fetches, a job that has been fetched would free none of them.
    at_servers = len(_of(being_fetched, only_tenant))
    holders = being_fetched if at_servers >= (FETCHES if only_tenant is None else share_of_one(FETCHES)) else unstored
    return await _less_urgent(session, holders, capacity, only_tenant, to_fetch=True) or await _slow(
        session, being_fetched, capacity, only_tenant, now
    )


def _of(running: Sequence[Running], only_tenant: str | None) -> Sequence[Running]:
    return [each for each in running if only_tenant in (None, each.held.tenant)]


async def _less_urgent(
    session: AsyncSession, running: Sequence[Running], capacity: Capacity, only_tenant: str | None, *, to_fetch: bool
) -> Leaving | None:
    chosen = least_urgent(_of(running, only_tenant))
    if chosen is None or not await queue.more_urgent_waits(
        session, chosen.job, capacity, only_tenant, to_fetch=to_fetch
    ):
        return None
    return chosen, Interrupted()


async def _slow(
    session: AsyncSession, fetches: Sequence[Running], capacity: Capacity, only_tenant: str | None, now: float
) -> Leaving | None:
    chosen = slowest_fetch(_of(fetches, only_tenant), now)
    if chosen is None or not await queue.another_waits_to_fetch(session, chosen.job, capacity, only_tenant):
        return None
    return chosen, SlowFetch()


def least_urgent(running: Sequence[Running]) -> Running | None:
    """The job that loses least if it returns: of the least urgent priority, the one with the least progress."""
    return max(running, key=lambda each: (each.job.priority, -each.progress, each.started), default=None)


def slowest_fetch(fetches: Sequence[Running], now: float) -> Running | None:
    """The fetch to stop, of those that take longer than they may while other keys wait. None if there is none.

    It is the slowest fetch of the key that has the most such fetches, in the tenant that has the most.
    """
    slow = [each for each in fetches if now - each.started >= longest_fetch_seconds(each.job.slow_fetches)]
    of_tenant, of_key = Counter(each.held.tenant for each in slow), Counter(each.job.caller for each in slow)
    return max(
        slow,
        key=lambda each: (of_tenant[each.held.tenant], of_key[each.job.caller], now - each.started),
        default=None,
    )
