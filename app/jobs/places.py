"""How many more jobs a worker takes; pure. Those to be fetched have their own places: slow servers stop no upload.

For the same reason each kind rests by itself, after a job of it met a store that is away or a full disk: the next ones
would meet it too, and go back as well, while other workers might do them.
"""

from dataclasses import dataclass

SLOTS = 16  # for jobs that come with their recording, and as many for those that come without
FETCHES = 8  # of the latter may be waiting for their server


@dataclass(frozen=True)
class Taken:
    """How many running jobs came with a recording, how many have been fetched here, how many still are."""

    stored: int
    fetched: int
    fetching: int


@dataclass(frozen=True)
class Free:
    """How many more jobs may be claimed with a recording, and how many without."""

    slots: int
    fetches: int


@dataclass(frozen=True)
class Rest:
    """Until when no job is claimed that comes with a recording, or none without; seconds, by the clock of `now`."""

    stored: float = 0.0
    fetched: float = 0.0


def free_places(taken: Taken, rest: Rest, now: float) -> Free:
    """What is left beside the running jobs."""
    slots = SLOTS - taken.stored if now >= rest.stored else 0
    fetches = min(FETCHES - taken.fetching, SLOTS - taken.fetched - taken.fetching) if now >= rest.fetched else 0
    return Free(max(slots, 0), max(fetches, 0))
