"""Runs a real Redis server as a child process. A test kills it, freezes it and starts it again on the same data."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import redis

from testing.ports import free_ports
from testing.service import eventually

REQUIRED = bool(os.environ.get("NEED_REDIS"))  # set by .ci/run, so that CI cannot skip these tests
DURABLE = ("--appendonly", "yes", "--appendfsync", "always")


class RedisProcess:
    """A server on a port of 127.0.0.1 that keeps its data in `folder`, and a client of it."""

    def __init__(self, folder: Path, options: Sequence[str] = (), password: str | None = None) -> None:
        [self.port] = free_ports(1)
        self._folder = folder
        self._options = [*options, *(["--requirepass", password] if password else [])]
        self._login = f":{password}@" if password else ""
        self._process: subprocess.Popen[bytes] | None = None
        self.client: Any = redis.Redis(port=self.port, password=password, decode_responses=True)

    @property
    def url(self) -> str:
        return f"redis://{self._login}127.0.0.1:{self.port}"

    def start(self) -> None:
        """Starts the server, and waits until it answers."""
        own = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self._folder), "--save", ""]
        with (self._folder / "redis.log").open("ab") as log:
            self._process = subprocess.Popen(["redis-server", *own, *self._options], stdout=log, stderr=log)
        eventually(self._answers)

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def freeze(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def add(self, stream: str = "callscribe:requests", **fields: Any) -> str:
        """Adds an entry, and returns its id."""
        return str(self.client.xadd(stream, fields))

    def entries(self, stream: str) -> list[dict[str, str]]:
        """Returns the fields of all entries of a stream, the oldest first."""
        return [fields for _, fields in self.client.xrange(stream)]

    def pending(self, stream: str = "callscribe:requests", group: str = "callscribe") -> int:
        """Returns how many entries were delivered to a consumer and are not acknowledged."""
        return int(self.client.xpending(stream, group)["pending"])

    def is_settled(self, stream: str = "callscribe:requests", group: str = "callscribe") -> bool:
        """Returns whether each entry was delivered and acknowledged."""
        [found] = [one for one in self.client.xinfo_groups(stream) if one["name"] == group]
        last = self.client.xinfo_stream(stream)["last-generated-id"]
        return (found["pending"], found["last-delivered-id"]) == (0, last)

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self._folder / "redis.log").read_text()
        with suppress(redis.RedisError):
            return bool(self.client.ping())
        return False


@contextmanager
def redis_serving(*options: str, password: str | None = None) -> Iterator[RedisProcess]:
    """Runs a server until the end of the block. Without options it keeps nothing when it is killed."""
    if not REQUIRED and shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed")
    with tempfile.TemporaryDirectory(prefix="redis-") as folder:
        server = RedisProcess(Path(folder), options, password)
        try:
            server.start()
            yield server
        finally:
            server.thaw()
            server.kill()
            server.client.close()
