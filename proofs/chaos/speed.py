"""Measures how fast jobs are claimed, and how the rate grows with the number of workers."""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from app.database.connections import DATABASE_TROUBLE, Database
from app.jobs.claims import queue
from app.jobs.claims.capacity import Capacity
from app.jobs.claims.claiming import Claimed
from app.jobs.lifecycle import FINAL, Cancelled
from app.network.guard import causes
from proofs.chaos import audit
from proofs.chaos.figures import Figure, percentile, rate
from proofs.chaos.stage import Stage
from testing.rows import KEEP_AUDIO, MODEL, fill

CLAIMERS = 8
KEYS = 20
SINGLE_CLAIMS = 1000


@dataclass
class Tally:
    """The jobs that claimers took, the seconds of each claim, the number of empty claims, and the database's errors."""

    jobs: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    empty: int = 0
    troubles: Counter[str] = field(default_factory=Counter)


async def claims(stage: Stage, *, pending: int, each: int, p99_ms: float) -> list[Figure]:
    """Claims jobs from a long queue, first with one claimer, then with eight at the same time."""
    await stage.pool.execute("DROP TRIGGER note_step ON transcription")
    database = Database(
        stage.postgres.address, pool_size=CLAIMERS, statement_seconds=300
    )  # filling the table takes long
    alone, crowd = Tally(), Tally()
    try:
        await fill(database, pending, KEYS)
        before = await _sequential_scans(stage)
        await _claim_and_end(database, "alone", min(SINGLE_CLAIMS, each), alone)
        started = time.monotonic()
        workers = (_claim_and_end(database, f"claimer-{number}", each, crowd) for number in range(CLAIMERS))
        await asyncio.gather(*workers)
        a_second = len(crowd.jobs) / (time.monotonic() - started)
        scans = await _sequential_scans(stage) - before
    finally:
        await database.close()
    taken, troubles = [*alone.jobs, *crowd.jobs], alone.troubles + crowd.troubles
    return [
        Figure.at_most(f"claim of {pending} pending, p99 ms", percentile(alone.seconds, 0.99) * 1000, p99_ms),
        Figure.none("sequential scans", scans),
        Figure.none(f"{CLAIMERS} claimers: claimed twice", len(taken) - len(set(taken))),
        Figure.none(f"{CLAIMERS} claimers: claims that found nothing", alone.empty + crowd.empty),
        Figure.none(
            f"{CLAIMERS} claimers: claims that the database interrupted",
            troubles.total(),
            [f"{count} times {cause}" for cause, count in troubles.items()],
        ),
        Figure.found(f"{CLAIMERS} claimers: p99 ms", percentile(crowd.seconds, 0.99) * 1000),
        Figure.found(f"{CLAIMERS} claimers: claimed and ended per second", a_second),
    ]


async def _claim_and_end(database: Database, worker: str, count: int, claimed: Tally) -> None:
    for _ in range(count):
        try:
            for job in await _claim(database, worker, claimed):
                async with database.transaction() as session:
                    await queue.finish(session, job, Cancelled(), KEEP_AUDIO)
        except DATABASE_TROUBLE as error:
            *_, root = causes(error)
            claimed.troubles[f"{type(root).__name__}: {root}"] += 1


async def _claim(database: Database, worker: str, claimed: Tally) -> Sequence[Claimed]:
    started = time.monotonic()
    async with database.transaction() as session:
        jobs = await queue.claim(session, worker, Capacity(1, models=(MODEL,)))
    claimed.seconds.append(time.monotonic() - started)
    claimed.jobs += [str(job.id) for job in jobs]
    claimed.empty += not jobs
    return jobs


async def _sequential_scans(stage: Stage) -> int:
    await asyncio.sleep(1.5)  # sessions report their scans about once a second
    scans = "SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'transcription'"
    return int(await stage.pool.fetchval(scans))


async def pick_up(stage: Stage, *, jobs: int) -> list[Figure]:
    """Measures the time from the answer to the claim, while the service has nothing else to do."""
    await stage.start(1, 1)
    await stage.load.post("sleep 0")
    await stage.settle(60)  # now every part has been used once
    for _ in range(jobs):
        await asyncio.sleep(stage.random.uniform(0.1, 0.5))
        await stage.load.post("sleep 0")
    settled = await stage.settle(60)
    claimed = {step.job: step.at for step in settled.accounts.steps if step.after == "in_progress"}
    waits = [(claimed[job] - at).total_seconds() * 1000 for job, at in stage.load.answered_at.items() if job in claimed]
    return [Figure.at_most("from 202 to claim, p95 ms", percentile(waits[1:], 0.95), 200), *settled.figures]


async def scale(stage: Stage, *, jobs: int, window_seconds: float) -> list[Figure]:
    """Gives the same work to one worker and then to four. Measuring starts when each of them has ended a job."""
    await stage.start(1, 0)
    await stage.load.offer(["sleep 0.5"] * jobs, 1000)
    rates = []
    for add in (1, 3):
        stage.cluster.add_workers(add)
        await _until_all_have_ended_one(stage)
        rates.append(await _rate_of_ends(stage, window_seconds))
    settled = await stage.settle(jobs)
    return [
        Figure.found("jobs/s of 1 worker", rates[0]),
        Figure.at_least("4 workers, times as many", rates[1] / rates[0] if rates[0] else 0.0, 3.8),
        *settled.figures,
    ]


async def _until_all_have_ended_one(stage: Stage) -> None:
    ended_one = "SELECT DISTINCT holder FROM step WHERE after = 'completed'"
    while not {member.name for member in stage.cluster.workers} <= {
        row["holder"] for row in await stage.pool.fetch(ended_one)
    }:
        await asyncio.sleep(0.2)


async def _rate_of_ends(stage: Stage, window_seconds: float) -> float:
    """Returns the jobs per second that end within the window, by the database's clock."""
    since: datetime = await stage.pool.fetchval("SELECT clock_timestamp()")
    await asyncio.sleep(window_seconds)
    steps = (await audit.read_accounts(stage.pool)).steps
    return rate([step.at for step in steps if step.at >= since and step.after in FINAL])
