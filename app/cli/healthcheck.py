"""The image's health check, `python -m app.cli.healthcheck`. It asks `/healthz` whether the service works.

It reads the host and the port from the process's command line, because they are options of `serve` and not settings.
A worker answers no requests, so it counts as healthy while it runs.
"""

import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from http.client import HTTPConnection, HTTPException
from pathlib import Path

LOOPBACK = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  the check connects, it does not listen
ANSWER_SECONDS = 4.0


def address_of(arguments: Sequence[str]) -> tuple[str, int] | None:
    """Returns the host and port where a process with this command line serves. None for a worker, which does not."""
    if "worker" in arguments and "serve" not in arguments:
        return None
    parser = ArgumentParser(allow_abbrev=False)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", default=8000, type=int)
    options, _ = parser.parse_known_args([argument for argument in arguments if argument != "--"])
    host = options.host.strip("[]")
    return LOOPBACK.get(host, host), options.port


def is_healthy(process: Path) -> bool:
    """Returns whether the process works. `process` is its folder under `/proc`."""
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
