"""How many more jobs a worker takes; pure. Those to be fetched have their own places: slow servers stop no upload."""

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


def free_places(taken: Taken) -> Free:
    """What is left beside the running jobs."""
    fetches = min(FETCHES - taken.fetching, SLOTS - taken.fetched - taken.fetching)
    return Free(max(SLOTS - taken.stored, 0), max(fetches, 0))
