"""The image's health check, `python -m app.cli.healthcheck`.

It asks `/healthz` of the container's process, if that process serves HTTP.

A worker does not; that it is there is all that can be seen of it from outside.
"""

import sys
from collections.abc import Sequence
from http.client import HTTPConnection, HTTPException
from itertools import pairwise
from pathlib import Path

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8000
LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  asked, not bound
ANSWER_SECONDS = 4.0


def address_of(arguments: Sequence[str]) -> tuple[str, int] | None:
    """The host and port to ask whether a command line of `callscribe` serves there; None for a worker."""
    if "worker" in arguments and "serve" not in arguments:
        return None
    host = _option("--host", arguments) or DEFAULT_HOST
    return LOOPBACK.get(host, host), int(_option("--port", arguments) or DEFAULT_PORT)


def _option(name: str, arguments: Sequence[str]) -> str | None:
    """The option's value, the last where there are several."""
    value = None
    for argument, following in pairwise((*arguments, "")):
        if argument == name:
            value = following
        elif argument.startswith(f"{name}="):
            value = argument.removeprefix(f"{name}=")
    return value


def is_healthy(process: Path) -> bool:
    """Whether a process, as its folder under `/proc` shows it, does what it was started for."""
    address = address_of((process / "cmdline").read_text().split("\0"))
    if address is None:
        return True
    connection = HTTPConnection(*address, timeout=ANSWER_SECONDS)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False


if __name__ == "__main__":
    sys.exit(not is_healthy(Path("/proc", *sys.argv[1:] or ["1"])))
