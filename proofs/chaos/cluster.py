"""Runs processes of the service that share one database and one folder. It replaces each process that ends."""

import asyncio
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import httpx

from proofs.chaos.load import KEYS
from testing.ports import free_ports
from testing.service import environment

ROOT = Path(__file__).parents[2]
START_LIMIT_SECONDS = 300.0
END_LIMIT_SECONDS = 60.0
WATCH_SECONDS = 0.2

Kind = Literal["serve", "worker", "whole"]


@dataclass(frozen=True)
class Member:
    """A process. `serve` only answers HTTP, `worker` only works on jobs and has the port 0, `whole` does both.

    `name` is the name under which it leases jobs.
    """

    kind: Kind
    port: int
    popen: "subprocess.Popen[bytes]"

    @property
    def name(self) -> str:
        return f"{socket.gethostname()}:{self.popen.pid}"

    def send(self, number: signal.Signals) -> None:
        self.popen.send_signal(number)


class Cluster:
    """Starts processes, sends them signals, and replaces each one that ends, on the same port."""

    def __init__(self, folder: Path, address: str | None, *arguments: str, **settings: str) -> None:
        """If `address` is None, the processes run the embedded database in the folder."""
        self.folder = folder
        self._arguments = arguments
        keys = ",".join(f"{name}:{key}" for name, key in KEYS.items())
        database = {} if address is None else {"DATABASE_URL": address}
        chosen = {**database, "API_KEYS": keys, "MAX_PENDING": "1000000", **settings}
        self._environment = environment(folder, **chosen)
        self._log = (folder / "processes.log").open("ab")
        self._watching: asyncio.Task[None] | None = None
        self.members: list[Member] = []
        self.signalled: set[str] = set()
        self.died_at: dict[str, datetime] = {}
        self.exit_codes: Counter[int] = Counter()

    @property
    def urls(self) -> list[str]:
        return [f"http://127.0.0.1:{member.port}" for member in self.members if member.port]

    @property
    def workers(self) -> list[Member]:
        return [member for member in self.members if not member.port]

    async def start(self, apis: int, workers: int) -> None:
        """Starts `apis` processes that serve HTTP, and `workers`. Returns when all APIs are ready."""
        self.members += [self._spawn("serve", port) for port in free_ports(apis)]
        self.add_workers(workers)
        await self._until_ready()

    async def start_whole(self) -> None:
        """Starts one process that serves HTTP and works on jobs. Returns when it is ready."""
        self.members.append(self._spawn("whole", *free_ports(1)))
        await self._until_ready()

    async def _until_ready(self) -> None:
        if self._watching is None:
            self._watching = asyncio.create_task(self._replace_the_dead())
        async with asyncio.timeout(START_LIMIT_SECONDS), httpx.AsyncClient(trust_env=False) as client:
            for url in self.urls:
                while not await _is_ready(client, url):
                    await asyncio.sleep(WATCH_SECONDS)

    def add_workers(self, count: int) -> None:
        self.members += [self._spawn("worker", 0) for _ in range(count)]

    def not_signalled(self, members: Iterable[Member]) -> list[Member]:
        """Returns those of `members` that no signal was sent to.

        A signalled one stays a member until it is replaced.
        """
        return [member for member in members if member.name not in self.signalled]

    def kill(self, member: Member) -> None:
        self.died_at[member.name] = datetime.now(UTC)
        self._end(member, signal.SIGKILL)

    def terminate(self, member: Member) -> None:
        self._end(member, signal.SIGTERM)

    async def until_replaced(self) -> None:
        """Waits until all signalled processes are replaced, so that every exit code is known. Raises TimeoutError."""
        async with asyncio.timeout(END_LIMIT_SECONDS):
            while len(self.not_signalled(self.members)) < len(self.members):
                await asyncio.sleep(WATCH_SECONDS)

    async def stop(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
        for member in self.members:
            member.popen.kill()
        for member in self.members:
            await asyncio.to_thread(member.popen.wait, END_LIMIT_SECONDS)
        self._log.close()

    def spawn_apart(
        self, arguments: Sequence[str], command: Sequence[str], **settings: str
    ) -> "subprocess.Popen[bytes]":
        """Starts a process with its own settings that is not replaced when it ends. The caller must end it."""
        changed = {f"CALLSCRIBE_{name}": value for name, value in settings.items()}
        start = [sys.executable, "-m", "proofs.chaos.process", *self._arguments, *arguments, "--", *command]
        return subprocess.Popen(start, env=self._environment | changed, cwd=ROOT, stderr=self._log)

    def _end(self, member: Member, number: signal.Signals) -> None:
        self.signalled.add(member.name)
        member.send(number)

    def _spawn(self, kind: Kind, port: int) -> Member:
        command = [sys.executable, "-m", "proofs.chaos.process", *self._arguments, "--", *_command(kind, port)]
        return Member(kind, port, subprocess.Popen(command, env=self._environment, cwd=ROOT, stderr=self._log))

    async def _replace_the_dead(self) -> None:
        while True:
            for place, member in enumerate(self.members):
                if (code := member.popen.poll()) is not None:
                    self.exit_codes[code] += 1
                    self.died_at.setdefault(member.name, datetime.now(UTC))
                    self.members[place] = self._spawn(member.kind, member.port)
            await asyncio.sleep(WATCH_SECONDS)


def _command(kind: Kind, port: int) -> list[str]:
    if kind == "worker":
        return ["worker"]
    return ["serve", "--port", str(port), *(["--no-executor"] if kind == "serve" else [])]


async def _is_ready(client: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await client.get(f"{url}/readyz")).status_code == 200
    except httpx.TransportError:
        return False
