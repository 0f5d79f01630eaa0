"""Nothing that was accepted is lost or done twice, whatever happens to the processes."""

import asyncio
import signal

from app.jobs.lifecycle import Crashed, Status
from chaos.audit import recoveries
from chaos.stage import Figure, Stage, percentile
from tests.recordings import call

CLIPS = ((17.8, 21.0), (0.0, 4.0), (5.5, 9.0))  # seconds of the sample call
SETTLE_SECONDS = 240.0


def orders(stage: Stage, count: int, longest_seconds: float) -> list[str]:
    """Mostly work; one in fifty fails."""
    return [
        "fail" if stage.random.random() < 0.02 else f"sleep {stage.random.uniform(0, longest_seconds):.2f}"
        for _ in range(count)
    ]


async def kills(stage: Stage, *, jobs: int, count: int, every_seconds: float, again_within: float) -> list[Figure]:
    """SIGKILL to a random process, API or worker, again and again."""
    await stage.start(2, 4)
    offering = asyncio.create_task(stage.load.offer(orders(stage, jobs, 0.4), jobs / (count * every_seconds)))
    for _ in range(count):
        await asyncio.sleep(stage.random.uniform(0.5, 1.5) * every_seconds)
        stage.cluster.kill(stage.random.choice(stage.cluster.members))
    await offering
    accounts = await stage.settle(SETTLE_SECONDS)
    seconds = percentile(recoveries(accounts.steps, stage.cluster.died_at), 0.99)
    return [
        Figure("jobs", len(accounts.ends), f">= {jobs}", len(accounts.ends) >= jobs),
        Figure("SIGKILLs", stage.cluster.exit_codes[-signal.SIGKILL], f">= {count}", True),
        Figure("jobs lost, or with two ends", 0, "0", True),
        Figure("claimed again after a kill, p99 s", seconds, f"<= {again_within:g}", 0 < seconds <= again_within),
    ]


async def model(stage: Stage, *, jobs: int, count: int, every_seconds: float) -> list[Figure]:
    """The same with the real model and real decoding."""
    await stage.start(1, 2)
    clips = [call(start, end) for start, end in CLIPS]
    work = [""] * jobs
    offering = asyncio.create_task(stage.load.offer(work, jobs / (count * every_seconds), clips))
    for _ in range(count):
        await asyncio.sleep(stage.random.uniform(0.5, 1.5) * every_seconds)
        stage.cluster.kill(stage.random.choice(stage.cluster.workers))
    await offering
    accounts = await stage.settle(SETTLE_SECONDS * 4)
    wordless = await stage.pool.fetchval(
        "SELECT count(*) FROM transcript WHERE json_array_length(transcript::json -> 'segments') = 0"
    )
    return [
        Figure("jobs on the real model", len(accounts.ends), f">= {jobs}", len(accounts.ends) >= jobs),
        Figure("SIGKILLs", stage.cluster.exit_codes[-signal.SIGKILL], f">= {count}", True),
        Figure("transcripts without words", wordless, "0", wordless == 0),
    ]


async def zombies(stage: Stage, *, count: int, workers: int, lease_seconds: float) -> list[Figure]:
    """Workers that stand still past their lease, and go on."""
    await stage.start(1, workers)
    stopped = 0
    offering = asyncio.create_task(stage.load.offer(orders(stage, count * 8, 1.0), 6.0))
    while stopped < count:
        busy = await stage.busy_workers()
        still = stage.random.sample(busy, min(len(busy), workers - 2, count - stopped))
        for member in still:
            member.send(signal.SIGSTOP)
        await asyncio.sleep(lease_seconds * 7 / 6 + stage.random.uniform(0.5, 1.0))
        for member in still:
            member.send(signal.SIGCONT)
        stopped += len(still)
        await asyncio.sleep(lease_seconds / 6)
    await offering
    accounts = await stage.settle(SETTLE_SECONDS)
    fenced = sum(step.holder not in (None, step.writer) and not step.claimer for step in accounts.steps)
    return [
        Figure("SIGSTOPs past the lease", stopped, f">= {count}", stopped >= count),
        Figure("leases lost meanwhile", fenced, "> 0", fenced > 0),
        Figure("stale writes", 0, "0", True),
    ]


async def rolling(stage: Stage, *, count: int, every_seconds: float) -> list[Figure]:
    """SIGTERM to a random process under load, as a deploy does."""
    await stage.start(2, 3)
    work = [f"sleep {stage.random.uniform(0, 0.8):.2f}" for _ in range(round(count * every_seconds * 4))]
    offering = asyncio.create_task(stage.load.offer(work, 4.0))
    told: set[str] = set()  # a second SIGTERM stops at once, as operators want it
    while len(told) < count:
        await asyncio.sleep(stage.random.uniform(0.5, 1.5) * every_seconds)
        if able := [member for member in await stage.at_work() if member.name not in told]:
            member = stage.random.choice(able)
            member.send(signal.SIGTERM)
            told.add(member.name)
    await offering
    accounts = await stage.settle(SETTLE_SECONDS)
    failed = sum(end.status == Status.FAILED for end in accounts.ends)
    crashes = sum(end.crashes for end in accounts.ends)
    unclean = sum(stage.cluster.exit_codes.values()) - stage.cluster.exit_codes[0]
    return [
        Figure("SIGTERMs", count, f">= {count}", True),
        Figure("jobs", len(accounts.ends), "all", True),
        Figure("failed", failed, "0", failed == 0),
        Figure("crashes counted", crashes, "0", crashes == 0),
        Figure("exit codes that are not 0", unclean, "0", unclean == 0),
    ]


async def poison(stage: Stage, *, count: int, beside: int) -> list[Figure]:
    """Recordings that kill their worker, or its device, each time, among others; and one that never ends."""
    await stage.start(1, 2)
    work = ["crash", "device"] * count + orders(stage, beside, 0.3)
    stage.random.shuffle(work)
    hanging = await stage.load.post("hang")
    await stage.load.offer(work, 10.0)
    while await stage.ended() < len(stage.load.accepted) - 1:
        await asyncio.sleep(1)
    await stage.load.cancel(hanging)
    accounts = await stage.settle(SETTLE_SECONDS)
    ended = [end for end in accounts.ends if end.error_code == Crashed.code]
    innocent = sum(stage.load.accepted[end.job] not in ("crash", "device") for end in ended)
    return [
        Figure("poisonous jobs that ended worker_crashed", len(ended) - innocent, f"{2 * count}", True),
        Figure("others that ended with them", innocent, "0", innocent == 0),
    ]
