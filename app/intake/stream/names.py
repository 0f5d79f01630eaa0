"""The names that the service uses in Redis. Pure, so that the settings can check them without the Redis library."""

import re

GROUP = "callscribe"
STREAM = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")


def check_stream(name: str) -> str:
    """Returns the name. Raises ValueError for one that would be hard to type or to read in a log."""
    if not STREAM.fullmatch(name):
        raise ValueError("must be a name such as callscribe:requests, of ASCII letters, digits and . _ : -")
    return name


def rejected_stream(stream: str) -> str:
    """Returns the name of the stream of refused entries: `callscribe:rejected` for `callscribe:requests`."""
    prefix, separator, _ = stream.rpartition(":")
    return f"{prefix}:rejected" if separator else f"{stream}:rejected"
