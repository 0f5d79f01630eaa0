"""The image's health check, `python -m app.cli.healthcheck`: asks `/healthz` if the container's process serves HTTP.

It reads the process's command line, because host and port are options of `serve` and not settings. A worker answers
no requests, so it counts as healthy while it runs.
"""

import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from http.client import HTTPConnection, HTTPException
from pathlib import Path

LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  asked, not listened on
ANSWER_SECONDS = 4.0


def address_of(arguments: Sequence[str]) -> tuple[str, int] | None:
    """The host and port to ask, if this command line of `callscribe` serves there. None for a worker."""
    if "worker" in arguments and "serve" not in arguments:
        return None
    parser = ArgumentParser(allow_abbrev=False)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", default=8000, type=int)
    asked, _ = parser.parse_known_args([argument for argument in arguments if argument != "--"])
    return LOOPBACK.get(asked.host, asked.host), asked.port


def is_healthy(process: Path) -> bool:
    """Whether the process that this folder under `/proc` describes works."""
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
