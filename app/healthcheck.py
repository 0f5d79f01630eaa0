"""The image's health check, `python -m app.healthcheck`: asks `/healthz` of the container's process, if it serves HTTP.

A worker does not; that it is there is all that can be seen of it from outside.
"""

import sys
from collections.abc import Sequence
from http.client import HTTPConnection, HTTPException
from pathlib import Path

DEFAULT_PORT = 8000
ANSWER_SECONDS = 4.0


def port_of(arguments: Sequence[str]) -> int | None:
    """The port that a command line makes `callscribe` serve on; None where it does something else."""
    if "serve" not in arguments:
        return None
    port = str(DEFAULT_PORT)
    for argument, following in zip(arguments, (*arguments[1:], ""), strict=True):
        if argument == "--port":
            port = following
        elif argument.startswith("--port="):
            port = argument.removeprefix("--port=")
    return int(port)


def is_healthy(process: Path) -> bool:
    """Whether a process, as its folder under `/proc` shows it, does what it was started for."""
    port = port_of((process / "cmdline").read_text().split("\0"))
    if port is None:
        return True
    connection = HTTPConnection("127.0.0.1", port, timeout=ANSWER_SECONDS)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False


if __name__ == "__main__":
    sys.exit(not is_healthy(Path("/proc", *sys.argv[1:] or ["1"])))
