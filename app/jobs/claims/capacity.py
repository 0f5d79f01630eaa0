"""Decides how many more jobs a worker may claim, and from which tenants, API keys and hosts. Pure.

Jobs whose recording must be fetched have places of their own, so that slow servers do not stop uploads. One API key
holds at most about three quarters of the places of each kind, so that a job of another key need not wait until a long
one ends. The same limit holds for one host that recordings are fetched from. If there are several tenants, it holds for
each of them, and a key holds about three quarters of what its tenant may hold.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from app.access.callers import tenant_of
from app.process.shares import Shares

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

    @property
    def tenant(self) -> str:
        return tenant_of(self.caller)


@dataclass(frozen=True)
class Capacity:
    """How many more jobs of one kind may be claimed: in all, of each tenant and API key, and from each host.

    `models` names the models whose jobs may be claimed; None means all.
    `of_tenant`, `of_caller` and `of_host` name those that hold places already. For all others, `each_tenant`,
    `each_caller` and `each_host` are the limits; None means all places. The limit for a key of one of the tenants
    `undivided`, which have only one, is that of its tenant. `crowded` means that running jobs hold all places.
    """

    places: int
    each_caller: int | None = None
    each_host: int | None = None
    of_caller: Mapping[str, int] = field(default_factory=dict)
    of_host: Mapping[str, int] = field(default_factory=dict)
    crowded: bool = False
    models: Sequence[str] | None = None
    each_tenant: int | None = None
    of_tenant: Mapping[str, int] = field(default_factory=dict)
    undivided: Sequence[str] = ()

    @property
    def most_of_a_tenant(self) -> int:
        """The limit for a tenant that `of_tenant` does not name."""
        return self.places if self.each_tenant is None else self.each_tenant

    @property
    def most_of_a_caller(self) -> int:
        """The limit for a key that `of_caller` does not name, unless it is the only one of its tenant."""
        return self.places if self.each_caller is None else self.each_caller

    @property
    def is_full_for_some(self) -> bool:
        return self.crowded or 0 in self.of_tenant.values()

    def is_full_for(self, tenant: str) -> bool:
        return self.crowded or self.of_tenant.get(tenant) == 0

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


class _Places:
    """Some places, the jobs that hold them, and what is left of them to each tenant and caller that they name."""

    def __init__(self, number: int, held: Sequence[Held], shares: Shares) -> None:
        self.left = max(0, number - len(held))
        self.of_one = share_of_one(number)
        self._number, self._shares = number, shares
        self._of_tenant, self._of_caller = Counter(each.tenant for each in held), Counter(each.caller for each in held)

    def left_to_tenant(self, name: str) -> int:
        return max(0, self._shares.most_of_tenant(self._number, self.of_one) - self._of_tenant[name])

    def left_to_caller(self, name: str) -> int:
        return max(0, self._shares.most_of_caller(tenant_of(name), self.of_one) - self._of_caller[name])


def free_slots(held: Sequence[Held], pauses: Pauses, now: float, shares: Shares) -> Capacity:
    """How many more jobs may be claimed that come with their recording."""
    if now < pauses.stored:
        return NO_CAPACITY
    with_recording = [each for each in held if each.came_with_recording]
    return _capacity([_Places(SLOTS, with_recording, shares)], with_recording, shares)


def free_fetches(held: Sequence[Held], pauses: Pauses, now: float, shares: Shares) -> Capacity:
    """How many more jobs may be claimed whose recording is to be fetched."""
    if now < pauses.fetched:
        return NO_CAPACITY
    without = [each for each in held if not each.came_with_recording]
    fetching = [each for each in without if each.fetching is not None]
    places = [_Places(SLOTS, without, shares), _Places(FETCHES, fetching, shares)]
    hosts, most = Counter(each.fetching for each in fetching if each.fetching), share_of_one(FETCHES)
    of_host = {host: max(0, most - count) for host, count in hosts.items()}
    return replace(_capacity(places, without, shares), each_host=most, of_host=of_host)


def groups_of_models(
    models: Sequence[str] | None, remote: Sequence[str], held: Mapping[str, int]
) -> list[tuple[Sequence[str] | None, int]]:
    """The models whose jobs are claimed one after the other, and the most jobs to claim of each group.

    A remote model is a group of its own with an equal part of the places, because its server may be slow, and then its
    jobs would hold all places. It comes before the models of this machine, which take what is left. `held` counts the
    running jobs of each model. None means all models.
    """
    apart = [model for model in models or () if model in remote]
    if models is None or not apart:
        return [(models, SLOTS)]
    part = max(1, SLOTS // (len(apart) + 1))
    return [
        *(([model], part - held.get(model, 0)) for model in apart),
        ([model for model in models if model not in apart], SLOTS),
    ]


def of_models(capacity: Capacity, models: Sequence[str] | None, most: int) -> Capacity:
    """The part of a capacity that jobs of some models may have."""
    return replace(limited_to(capacity, most), models=models)


def _capacity(places: Sequence[_Places], held: Sequence[Held], shares: Shares) -> Capacity:
    """How many more jobs may be claimed if each needs one of each of these places. `held` has all running jobs."""
    left, of_one = min(each.left for each in places), min(each.of_one for each in places)
    callers = {each.caller: min(some.left_to_caller(each.caller) for some in places) for each in held}
    if shares.tenants < 2:
        return Capacity(left, of_one, of_caller=callers, crowded=left == 0)
    return Capacity(
        left,
        shares.of_several(of_one),
        of_caller=callers,
        crowded=left == 0,
        each_tenant=of_one,
        of_tenant={each.tenant: min(some.left_to_tenant(each.tenant) for some in places) for each in held},
        undivided=[tenant for tenant in shares.callers if shares.callers_of(tenant) < 2],
    )


def limited_to(capacity: Capacity, places: int) -> Capacity:
    """The same capacity, for at most this number of jobs."""
    return replace(capacity, places=max(0, min(capacity.places, places)))


def without(capacity: Capacity, caller: str, host: str = "") -> Capacity:
    """What is left of the capacity after one more job of this key, from this host, was claimed."""
    tenant = tenant_of(caller)
    most = capacity.most_of_a_tenant if tenant in capacity.undivided else capacity.most_of_a_caller
    return replace(
        capacity,
        places=capacity.places - 1,
        of_tenant=_one_less(capacity.of_tenant, tenant, capacity.most_of_a_tenant) if capacity.each_tenant else {},
        of_caller=_one_less(capacity.of_caller, caller, most),
        of_host=_one_less(capacity.of_host, host, capacity.most_of_a_host) if host else capacity.of_host,
    )


def _one_less(left: Mapping[str, int], name: str, most: int) -> dict[str, int]:
    return {**left, name: max(0, left.get(name, most) - 1)}
