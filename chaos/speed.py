"""How fast the queue is, and how it grows."""

import asyncio
import time
from collections.abc import Sequence

from app.db import Database
from app.jobs import queue
from app.jobs.lifecycle import Cancelled
from app.jobs.models import Transcription
from chaos import audit
from chaos.stage import Figure, Stage, percentile
from tests.jobs.rows import fill

CLAIMERS = 8
KEYS = 20
SINGLE_CLAIMS = 1000


async def claims(stage: Stage, *, pending: int, each: int, p99_ms: float) -> list[Figure]:
    """Claims from a long queue: one claimer alone, then eight at once."""
    await stage.pool.execute("DROP TRIGGER note_step ON transcription")
    database = Database(stage.postgres.address, pool_size=CLAIMERS)
    try:
        await fill(database, pending, KEYS)
        before = await _sequential_scans(stage)
        alone: list[float] = []
        taken = await _claim_and_end(database, "alone", min(SINGLE_CLAIMS, each), alone)
        started, crowd = time.monotonic(), list[float]()
        workers = (_claim_and_end(database, f"claimer-{number}", each, crowd) for number in range(CLAIMERS))
        for found in await asyncio.gather(*workers):
            taken += found
        rate = CLAIMERS * each / (time.monotonic() - started)
        scans = await _sequential_scans(stage) - before
    finally:
        await database.close()
    doubles, p99 = len(taken) - len(set(taken)), percentile(alone, 0.99) * 1000
    missing = min(SINGLE_CLAIMS, each) + CLAIMERS * each - len(taken)
    return [
        Figure(f"claim of {pending} pending, p99 ms", p99, f"<= {p99_ms:g}", p99 <= p99_ms),
        Figure("sequential scans", scans, "0", scans == 0),
        Figure(f"{CLAIMERS} claimers: claimed twice", doubles, "0", doubles == 0),
        Figure(f"{CLAIMERS} claimers: claims that found nothing", missing, "0", missing == 0),
        Figure(f"{CLAIMERS} claimers: p99 ms", percentile(crowd, 0.99) * 1000, "-", True),
        Figure(f"{CLAIMERS} claimers: claimed and ended, a second", rate, "-", True),
    ]


async def _claim_and_end(database: Database, worker: str, count: int, seconds: list[float]) -> list[str]:
    taken: list[str] = []
    for _ in range(count):
        started = time.monotonic()
        async with database.transaction() as session:
            jobs: Sequence[Transcription] = await queue.claim(session, worker, 1)
        seconds.append(time.monotonic() - started)
        for job in jobs:
            taken.append(str(job.id))
            async with database.transaction() as session:
                await queue.finish(session, job, Cancelled())
    return taken


async def _sequential_scans(stage: Stage) -> int:
    await asyncio.sleep(1.5)  # sessions report what they did about once a second
    scans = "SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'transcription'"
    return int(await stage.pool.fetchval(scans))


async def pick_up(stage: Stage, *, jobs: int) -> list[Figure]:
    """From the answer to the claim, with nothing else to do."""
    await stage.start(1, 1)
    await stage.load.post("sleep 0")
    await stage.settle(60)
    for _ in range(jobs):
        await asyncio.sleep(stage.random.uniform(0.1, 0.5))
        await stage.load.post("sleep 0")
    accounts = await stage.settle(60)
    claimed = {step.job: step.at for step in accounts.steps if step.after == "in_progress"}
    waits = [(claimed[job] - at).total_seconds() * 1000 for job, at in stage.load.answered_at.items()]
    p95 = percentile(waits[1:], 0.95)
    return [Figure("from 202 to claim, p95 ms", p95, "<= 200", p95 <= 200)]


async def scale(stage: Stage, *, jobs: int, window_seconds: float) -> list[Figure]:
    """The same work by one worker and by four."""
    await stage.start(1, 0)
    await stage.load.offer(["sleep 0.5"] * jobs, 1000)
    rates = []
    for add in (1, 3):
        stage.cluster.add_workers(add)
        await _until_all_work(stage)
        before, started = await stage.ended(), time.monotonic()
        await asyncio.sleep(window_seconds)
        rates.append((await stage.ended() - before) / (time.monotonic() - started))
    await stage.settle(jobs)
    return [
        Figure("jobs/s of 1 worker", rates[0], "-", True),
        Figure("4 workers, times as many", rates[1] / rates[0], ">= 3.8", rates[1] / rates[0] >= 3.8),
    ]


async def _until_all_work(stage: Stage) -> None:
    while True:
        steps = (await audit.read_accounts(stage.pool)).steps
        if {member.name for member in stage.cluster.workers} <= {step.claimer for step in steps}:
            return
        await asyncio.sleep(0.2)
