"""How many files the process may have open, and how many of them the connections of clients may take.

Each connection, recording and pipe is an open file. If no more can be opened, then no upload, decoder or log works.
"""

import resource
from contextlib import suppress

PLENTY = 1_048_576  # what containers usually get; used if the hard limit is infinite
# For two pools and a listener of the database (21), 42 jobs (twice SLOTS of jobs/claims/capacity.py) with their
# decoders' pipes and decoded audio, 64 deliveries, fetches, S3, models and libraries.
OWN_FILES = 512
FILES_PER_CONNECTION = 2  # its socket, and the recording that it sends or reads
MOST_CONNECTIONS = 10_000


def raise_limit() -> None:
    """Raise the soft limit of this process to the hard one. It is often 1,024, for programs that call `select`."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = PLENTY if hard == resource.RLIM_INFINITY else hard
    with suppress(ValueError, OSError):  # if the kernel allows fewer, the soft limit stays
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def connections_within(limit: int) -> int:
    """Returns how many connections a process may hold that may open `limit` files and needs some of them itself."""
    own = min(OWN_FILES, limit // 2)
    return min(MOST_CONNECTIONS, (limit - own) // FILES_PER_CONNECTION)


def most_connections() -> int:
    """Returns how many connections this process may hold by its soft limit. Call `raise_limit` before."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return connections_within(PLENTY if soft == resource.RLIM_INFINITY else soft)
