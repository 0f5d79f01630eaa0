"""Lets thousands of clients want too much: silent sockets, answers that stay unread, `/readyz` and long polls.

Another key must still get its answers, and the process must not grow without a limit.
"""

import asyncio
import gc
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from proofs.chaos.cluster import ROOT, Member
from proofs.chaos.durability import SETTLE_SECONDS
from proofs.chaos.figures import Figure, percentile
from proofs.chaos.load import KEYS
from proofs.chaos.stage import Stage

ASK_SECONDS = 0.2
ANSWER_SECONDS = 60.0
WATCH_SECONDS = 1.0
RATE = 2.0
HANGING = 4
CALM_SECONDS = 120.0  # unused connections of honest clients are kept for 75 s


@dataclass
class Asked:
    """The seconds of each request, and the requests that got no answer or an error."""

    seconds: list[float] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


@dataclass
class Held:
    """The largest number of open files that the process had, and the largest number of MiB of memory."""

    files: int = 0
    memory: int = 0


async def strangers(
    stage: Stage, *, crowds: Mapping[str, int], seconds: float, list_seconds: float, health_seconds: float
) -> list[Figure]:
    """Runs one process that serves HTTP and works on jobs, while crowds occupy it and another key goes on working.

    `list_seconds` and `health_seconds` are the promised times of that key's lists and of the health check (p95).
    """
    await stage.cluster.start_whole()
    [member] = stage.cluster.members
    hanging = [str(await stage.load.post("hang")) for _ in range(HANGING)]
    gc.freeze()  # a garbage collection in this process would look like a slow answer
    idle, most, lists, health = _held(member), Held(), Asked(), Asked()
    async with asyncio.timeout(seconds + ANSWER_SECONDS + CALM_SECONDS):
        async with _crowds(member.port, crowds, hanging), _watched(member, most):
            await asyncio.gather(
                stage.load.offer(["sleep 0.1"] * round(seconds * RATE), RATE),
                _ask(member, "/v1/transcriptions", lists, seconds),
                _ask(member, "/healthz", health, seconds),
            )
        while _held(member).files > idle.files + HANGING:  # until the connections of the crowds are closed
            await asyncio.sleep(WATCH_SECONDS)
    for job in stage.load.accepted:
        if str(job) in hanging:
            await stage.load.cancel(job)
    settled = await stage.settle(SETTLE_SECONDS)
    ends = settled.accounts.ends
    connections = sum(crowds.values()) - max(0, crowds.get("silent", 0) - 512)
    return [
        Figure.at_most("list of another key, p95 s", percentile(lists.seconds, 0.95), list_seconds),
        Figure.at_most("/healthz, p95 s", percentile(health.seconds, 0.95), health_seconds),
        Figure.none(
            "refused to the other key and the health check",
            len(lists.refused + health.refused),
            lists.refused + health.refused,
        ),
        Figure.none("attempts counted beyond the first", sum(end.attempts > 1 for end in ends)),
        Figure.none("leases lost", sum(end.crashes for end in ends)),
        *settled.figures,
        Figure.at_most("open files", most.files, idle.files + connections + 200),
        Figure.at_most("memory beyond the idle process, MiB", most.memory - idle.memory, 300),
        Figure.none("processes that ended", stage.cluster.exit_codes.total()),
    ]


@asynccontextmanager
async def _crowds(port: int, crowds: Mapping[str, int], ids: list[str]) -> AsyncIterator[None]:
    start = asyncio.create_subprocess_exec
    command = (sys.executable, "-m", "proofs.chaos.crowd")
    processes = [await start(*command, kind, str(port), str(count), *ids, cwd=ROOT) for kind, count in crowds.items()]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            await process.wait()


@asynccontextmanager
async def _watched(member: Member, most: Held) -> AsyncIterator[None]:
    async def watch() -> None:
        while True:
            held = _held(member)
            most.files, most.memory = max(most.files, held.files), max(most.memory, held.memory)
            await asyncio.sleep(WATCH_SECONDS)

    watching = asyncio.create_task(watch())
    try:
        yield
    finally:
        watching.cancel()


def _held(member: Member) -> Held:
    folder = Path("/proc", str(member.popen.pid))
    status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
    return Held(sum(1 for _ in (folder / "fd").iterdir()), int(status["VmRSS"].split()[0]) // 1024)


async def _ask(member: Member, path: str, asked: Asked, seconds: float) -> None:
    """Sends requests one after the other, each on a new connection, as health checks do."""
    headers = {"Authorization": f"Bearer {KEYS['modest']}", "Connection": "close"}
    deadline = time.monotonic() + seconds
    async with httpx.AsyncClient(timeout=ANSWER_SECONDS, trust_env=False, headers=headers) as client:
        while (started := time.monotonic()) < deadline:
            try:
                response = await client.get(f"http://127.0.0.1:{member.port}{path}")
            except httpx.TransportError as error:
                asked.refused.append(repr(error))
            else:
                if response.status_code != 200:
                    asked.refused.append(f"{path}: {response.status_code} {response.text}")
            asked.seconds.append(time.monotonic() - started)
            await asyncio.sleep(ASK_SECONDS)
