"""Runs a worker on a broken machine, next to a healthy worker.

The sick worker must fail no job. It must stop claiming while the fault lasts, and claim again after the repair.
"""

import asyncio
import errno
import os
import shutil
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from app.audio.decode import PROGRAM
from app.jobs.lifecycle import Status
from proofs.chaos.cluster import START_LIMIT_SECONDS
from proofs.chaos.durability import SETTLE_SECONDS
from proofs.chaos.figures import Figure
from proofs.chaos.stage import POLL_SECONDS, Stage
from testing.ports import free_ports

NOT_READY_SECONDS = 30.0
DISK_KIB = 4096
INODES = 64
KILL_SECONDS = 3.0


@dataclass(frozen=True)
class SickWorker:
    """A process that serves HTTP and works on jobs. Its work folder is on its own small disk."""

    process: psutil.Process
    url: str
    disk: Path
    fault: Path

    async def is_ready(self) -> bool:
        """Asks as a probe does. A process without a file for the connection does not answer, so it is not ready."""
        async with httpx.AsyncClient(timeout=10, trust_env=False) as client:
            with suppress(httpx.TransportError):
                return (await client.get(f"{self.url}/readyz")).status_code == 200
        return False

    async def becomes(self, *, ready: bool, within_seconds: float) -> float:
        """Returns after how many seconds its readiness is `ready`. Returns infinity after `within_seconds`."""
        started = time.monotonic()
        while time.monotonic() - started < within_seconds:
            if await self.is_ready() is ready:
                return time.monotonic() - started
            await asyncio.sleep(POLL_SECONDS)
        return float("inf")

    def decoders(self) -> list[psutil.Process]:
        return [child for child in self.process.children() if str(PROGRAM) in child.cmdline()]


@contextmanager
def read_only(worker: SickWorker) -> Iterator[None]:
    if os.geteuid() != 0:
        with _raising(worker, errno.EROFS):
            yield
        return
    work = worker.disk / "work"
    _mount(work, "ro")
    try:
        yield
    finally:
        _unmount(work)


@contextmanager
def out_of_inodes(worker: SickWorker) -> Iterator[None]:
    if os.geteuid() != 0:
        with _raising(worker, errno.ENOSPC):
            yield
        return
    folder = worker.disk / "filling"
    folder.mkdir()
    with suppress(OSError):
        for number in range(INODES):
            (folder / str(number)).touch()
    try:
        yield
    finally:
        shutil.rmtree(folder)


@contextmanager
def input_output_errors(worker: SickWorker) -> Iterator[None]:
    with _raising(worker, errno.EIO):
        yield


@contextmanager
def removed(worker: SickWorker) -> Iterator[None]:
    """Does what a cleaner of temporary files does. The worker must make its folder again."""
    shutil.rmtree(worker.disk / "work")
    yield


@contextmanager
def out_of_files(worker: SickWorker) -> Iterator[None]:
    before = worker.process.rlimit(psutil.RLIMIT_NOFILE)
    worker.process.rlimit(psutil.RLIMIT_NOFILE, (worker.process.num_fds() + 2, before[1]))
    try:
        yield
    finally:
        worker.process.rlimit(psutil.RLIMIT_NOFILE, before)


@contextmanager
def killed_decoders(worker: SickWorker) -> Iterator[None]:
    """Does what a lack of memory does: it kills all running decoders every few seconds."""

    async def kill() -> None:
        while True:
            for child in worker.decoders():
                with suppress(psutil.NoSuchProcess):
                    child.send_signal(signal.SIGKILL)
            await asyncio.sleep(KILL_SECONDS)

    killing = asyncio.create_task(kill())
    try:
        yield
    finally:
        killing.cancel()


SICK = {
    "read-only": read_only,
    "full of inodes": out_of_inodes,
    "with input/output errors": input_output_errors,
    "out of open files": out_of_files,
}
PASSING = {"removed once": removed, "with its decoders killed": killed_decoders}


async def black_hole(stage: Stage, *, jobs: int, killing_seconds: float) -> list[Figure]:
    """Causes one fault after the other, while jobs wait and a healthy worker runs next to the sick one."""
    await stage.start(1, 1)
    figures = []
    async with _sick_worker(stage) as worker:
        for name, fault in SICK.items():
            with fault(worker):
                posted = await _post(stage, jobs)
                seconds = await worker.becomes(ready=False, within_seconds=2 * NOT_READY_SECONDS)
                figures.append(Figure.at_most(f"{name}: not ready after s", seconds, NOT_READY_SECONDS))
                await _until_all_ended(stage, posted)
            figures.append(
                Figure.at_most(
                    f"{name}: mended and ready after s", await worker.becomes(ready=True, within_seconds=90), 60.0
                )
            )
        for name, fault in PASSING.items():
            with fault(worker):
                until = time.monotonic() + killing_seconds
                while time.monotonic() < until:
                    await _until_all_ended(stage, await _post(stage, jobs))
            figures.append(
                Figure.at_most(f"{name}: ready after s", await worker.becomes(ready=True, within_seconds=60), 60.0)
            )
        figures.append(Figure.at_least("jobs that the sick worker ended", await _ended_by(stage, worker), 1))
    settled = await stage.settle(SETTLE_SECONDS)
    ends = settled.accounts.ends
    interrupted = await stage.pool.fetchval("SELECT count(*) FROM transcription WHERE interruptions > 0")
    return [
        *figures,
        Figure.at_least("jobs", len(ends), jobs * len(SICK)),
        *settled.figures,
        Figure.none("failed", sum(end.status == Status.FAILED for end in ends)),
        Figure.none("crashes counted", sum(end.crashes for end in ends)),
        Figure.found("jobs that went back because of the sick worker", interrupted),
    ]


async def _post(stage: Stage, jobs: int) -> int:
    await stage.load.offer(["sleep 0.02"] * jobs, 40.0)
    return len(stage.load.accepted)


async def _until_all_ended(stage: Stage, count: int) -> None:
    await stage.until_ended(count, SETTLE_SECONDS)


async def _ended_by(stage: Stage, worker: SickWorker) -> int:
    name = f"%:{worker.process.pid}"
    statement = "SELECT count(*) FROM step WHERE holder LIKE $1 AND after = 'completed'"
    return int(await stage.pool.fetchval(statement, name))


@asynccontextmanager
async def _sick_worker(stage: Stage) -> AsyncIterator[SickWorker]:
    folder, [port] = stage.cluster.folder, free_ports(1)
    disk, fault = folder / "sick", folder / "fault"
    disk.mkdir()
    with ExitStack() as stack:
        if os.geteuid() == 0:
            _mount(disk, f"size={DISK_KIB}k,nr_inodes={INODES}")
            stack.callback(_unmount, disk)
        process = stage.cluster.spawn_apart(
            ["--broken", str(fault)],
            ["serve", "--port", str(port)],
            DATA_DIR=str(disk),
            STORE_URL=str(folder / "audio"),
            MIN_FREE_BYTES="0",
        )
        stack.callback(process.wait)
        stack.callback(process.kill)
        worker = SickWorker(psutil.Process(process.pid), f"http://127.0.0.1:{port}", disk, fault)
        if await worker.becomes(ready=True, within_seconds=START_LIMIT_SECONDS) == float("inf"):
            raise TimeoutError
        yield worker


def _mount(disk: Path, options: str) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(disk)], check=True)


def _unmount(disk: Path) -> None:
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


@contextmanager
def _raising(worker: SickWorker, code: int) -> Iterator[None]:
    worker.fault.write_text(str(code))
    try:
        yield
    finally:
        worker.fault.unlink()
