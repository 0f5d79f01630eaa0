"""The names that the service uses in Redis. Pure, so that the settings can check them without the Redis library."""

GROUP = "callscribe"


def rejected_stream(stream: str) -> str:
    """Returns the name of the stream of refused entries: `callscribe:rejected` for `callscribe:requests`."""
    prefix, separator, _ = stream.rpartition(":")
    return f"{prefix}:rejected" if separator else f"{stream}:rejected"
