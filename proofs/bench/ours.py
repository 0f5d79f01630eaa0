"""Callscribe as a contender: its engine alone, and the whole service with HTTP clients that post, wait and read."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import psutil

from app.audio.decode import decode
from app.process.memory import share_memory
from app.speech.engine import Engine, EngineConfig
from app.transcripts.transcript import Options
from proofs.bench.calls import Call, Piece
from proofs.bench.measure import Meter, Run, repeatedly, resident_mib
from proofs.bench.work import DEVICE, MODEL, Report, Work
from testing.service import Service, serving

HEALTH_PAUSE_SECONDS = 0.02
FINAL = frozenset({"completed", "failed", "cancelled"})


def engine(models_dir: Path, calls: Sequence[Call]) -> Work:
    """Decodes and transcribes all calls at the same time, without HTTP and without a database."""
    share_memory()
    loaded = Engine(EngineConfig(models=(MODEL,), models_dir=models_dir, device=DEVICE))
    loaded.load()

    async def transcribe(call: Call, report: Report) -> None:
        with TemporaryDirectory() as folder:
            audio = await decode(call.path, Path(folder), split=True, max_seconds=call.seconds + 60)
            options = Options(MODEL, channels="split")
            transcript = await loaded.transcribe(audio.channels, options, on_progress=lambda done: None)
        report(call, [Piece(segment.channel, segment.start, segment.text) for segment in transcript.segments])

    async def transcribe_all(report: Report) -> None:
        await asyncio.gather(*(transcribe(call, report) for call in calls))

    return lambda report: asyncio.run(transcribe_all(report))


def service(folder: Path, calls: Sequence[Call], levels: Sequence[int]) -> list[Run]:
    """Transcribes all calls once for each number of clients.

    A client posts its next call after it has read a transcript.
    """
    with serving(folder, MODEL=MODEL, DEVICE=DEVICE) as running:
        idle = resident_mib(psutil.Process(running.process.pid))
        return [_under_load(running, calls, clients, idle) for clients in levels]


@contextmanager
def asking_for_health(url: str) -> Iterator[list[float]]:
    """Requests `/healthz` until the end of the block. The list fills with the milliseconds of each answer."""
    found = list[float]()

    def ask() -> None:
        started = time.perf_counter()
        client.get("/healthz").raise_for_status()
        found.append(1000 * (time.perf_counter() - started))

    with httpx.Client(base_url=url, timeout=60, trust_env=False) as client, repeatedly(ask, HEALTH_PAUSE_SECONDS):
        yield found


def _under_load(service: Service, calls: Sequence[Call], clients: int, idle_mib: float) -> Run:
    with (
        ThreadPoolExecutor(clients) as pool,
        asking_for_health(service.url) as health,
        Meter(_processes(service)) as meter,
    ):
        answers = list(pool.map(partial(_ask, service), calls))
    return Run(
        wall_seconds=meter.wall_seconds,
        cpu_seconds=meter.cpu_seconds,
        peak_mib=meter.peak_mib,
        latencies=[seconds for seconds, _ in answers],
        heard={call.path.name: heard for call, (_, heard) in zip(calls, answers, strict=True)},
        clients=clients,
        health_ms=health,
        idle_mib=idle_mib,
    )


def _ask(service: Service, call: Call) -> tuple[float, list[Piece]]:
    """Returns the seconds from the request until the transcript was read, and the transcript."""
    started = time.perf_counter()
    segments = transcript_of(service, service.create(call.path.read_bytes(), channels="split"))["segments"]
    heard = [Piece(segment["channel"], segment["start"], segment["text"]) for segment in segments]
    return time.perf_counter() - started, heard


def transcript_of(service: Service, job: dict[str, Any]) -> dict[str, Any]:
    """Waits for the transcript of a job, and returns it."""
    while job["status"] not in FINAL:
        job = service.ended(job)
    assert job["status"] == "completed", job["error"]
    return service.read(job["links"]["transcript"])


def _processes(service: Service) -> list[psutil.Process]:
    """Returns the service's process, then its embedded database, which is not a child of that process."""
    postmasters = [int(path.read_text().split()[0]) for path in service.folder.rglob("postmaster.pid")]
    return [psutil.Process(pid) for pid in (service.process.pid, *postmasters)]
