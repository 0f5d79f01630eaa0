"""Decides how many more jobs a worker may claim, and from which API keys and hosts. Pure.

Jobs whose recording must be fetched have places of their own, so that slow servers do not stop uploads. One API key
holds at most about three quarters of the places of each kind, so that a job of another key need not wait until a long
one ends. The same limit holds for one host that recordings are fetched from.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

SLOTS = 21  # for jobs that come with their recording, and as many for those that come without: 16 of one key
FETCHES = 10  # of the latter may be waiting for their server: 8 of one key


def share_of_one(places: int) -> int:
    """How many of these places one API key, or one host, may hold."""
    return places - places // 4


@dataclass(frozen=True)
class Held:
    """The place of a running job. `fetching` is the host that its recording is being fetched from."""

    caller: str
    came_with_recording: bool
    fetching: str | None = None


@dataclass(frozen=True)
class Capacity:
    """How many more jobs of one kind may be claimed: in all, of each API key and from each host.

    `models` names the models whose jobs may be claimed; None means all.
    `of_caller` and `of_host` name keys and hosts that hold places already. For all others, `each_caller` and
    `each_host` are the limits; None means all places. `crowded` means that running jobs hold all places.
    """

    places: int
    each_caller: int | None = None
    each_host: int | None = None
    of_caller: Mapping[str, int] = field(default_factory=dict)
    of_host: Mapping[str, int] = field(default_factory=dict)
    crowded: bool = False
    models: Sequence[str] | None = None

    @property
    def most_of_a_caller(self) -> int:
        """The limit for a key that `of_caller` does not name."""
        return self.places if self.each_caller is None else self.each_caller

    @property
    def most_of_a_host(self) -> int:
        """The limit for a host that `of_host` does not name."""
        return self.places if self.each_host is None else self.each_host


NO_CAPACITY = Capacity(0)


@dataclass(frozen=True)
class Pauses:
    """Until when no job of a kind is claimed; seconds, by the clock of `now`.

    After a job returned to the queue because the store is unreachable or the disk is full, this worker claims no jobs
    of that kind for a while, because they would return too, and another worker might do them.
    """

    stored: float = 0.0
    fetched: float = 0.0


def free_slots(held: Sequence[Held], pauses: Pauses, now: float) -> Capacity:
    """How many more jobs may be claimed that come with their recording."""
    if now < pauses.stored:
        return NO_CAPACITY
    callers = Counter(each.caller for each in held if each.came_with_recording)
    most = share_of_one(SLOTS)
    places = max(0, SLOTS - callers.total())
    return Capacity(places, most, of_caller=_left(callers, most), crowded=places == 0)


def free_fetches(held: Sequence[Held], pauses: Pauses, now: float) -> Capacity:
    """How many more jobs may be claimed whose recording is to be fetched."""
    if now < pauses.fetched:
        return NO_CAPACITY
    without = [each for each in held if not each.came_with_recording]
    fetching = [each for each in without if each.fetching is not None]
    in_all, at_servers = Counter(each.caller for each in without), Counter(each.caller for each in fetching)
    most = share_of_one(FETCHES)
    slots_left = _left(in_all, share_of_one(SLOTS))
    fetches_left = _left(at_servers, most)
    places = max(0, min(FETCHES - len(fetching), SLOTS - len(without)))
    return Capacity(
        places,
        most,
        most,
        {caller: min(slots_left[caller], fetches_left.get(caller, most)) for caller in in_all},
        _left(Counter(each.fetching for each in fetching if each.fetching), most),
        crowded=places == 0,
    )


def _left(held: Counter[str], most: int) -> dict[str, int]:
    return {name: max(0, most - count) for name, count in held.items()}


def limited_to(capacity: Capacity, places: int) -> Capacity:
    """The same capacity, for at most this number of jobs."""
    return replace(capacity, places=max(0, min(capacity.places, places)))


def without(capacity: Capacity, caller: str, host: str = "") -> Capacity:
    """What is left of the capacity after one more job of this key, from this host, was claimed."""
    caller_left = max(0, capacity.of_caller.get(caller, capacity.most_of_a_caller) - 1)
    host_left = max(0, capacity.of_host.get(host, capacity.most_of_a_host) - 1)
    of_caller, of_host = {**capacity.of_caller, caller: caller_left}, {**capacity.of_host, host: host_left}
    return replace(
        capacity, places=capacity.places - 1, of_caller=of_caller, of_host=of_host if host else capacity.of_host
    )
