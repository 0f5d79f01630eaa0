"""How a delivery names the Redis stream that it goes to. Pure.

The server's address is left out, because it may have a password and clients see the URLs of deliveries.
"""

PREFIX = "redis-stream:"


def stream_url(stream: str) -> str:
    return PREFIX + stream


def stream_of(url: str) -> str:
    return url.removeprefix(PREFIX)
