"""How many files the process may have open, and how many of them clients may take.

Each connection, recording and pipe is an open file. Without a free one no upload, decoder or log works.
"""

import resource
from contextlib import suppress

PLENTY = 1_048_576  # if the hard limit is infinite: what containers usually get
# Two pools and a listener (21), 32 jobs with their decoders' pipes and decoded audio, 64 deliveries, fetches, S3,
# models, libraries.
OWN_FILES = 512
FILES_PER_CONNECTION = 2  # its socket, and the recording that it sends or reads
MOST_CONNECTIONS = 10_000


def raise_limit() -> None:
    """Raise the soft limit to the hard one. The soft one is often 1,024, for programs that call `select`."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = PLENTY if hard == resource.RLIM_INFINITY else hard
    with suppress(ValueError, OSError):  # the kernel allows fewer, so the soft limit stays
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def connections_within(limit: int) -> int:
    """How many connections leave the service its own files, if it may open `limit` files."""
    own = min(OWN_FILES, limit // 2)
    return min(MOST_CONNECTIONS, (limit - own) // FILES_PER_CONNECTION)


def most_connections() -> int:
    """How many connections this process may hold."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return connections_within(PLENTY if soft == resource.RLIM_INFINITY else soft)
