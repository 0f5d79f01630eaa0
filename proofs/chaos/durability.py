"""Nothing that was accepted is lost or done twice, whatever happens to the processes."""

import asyncio
import itertools
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial

from app.jobs.lifecycle import Crashed, Status
from proofs.chaos.audit import Recovery, claims_in_vain, recoveries
from proofs.chaos.cluster import Member
from proofs.chaos.figures import Figure, percentile
from proofs.chaos.stage import POLL_SECONDS, Stage
from testing.recordings import call

CLIPS = ((17.8, 21.0), (0.0, 4.0), (5.5, 9.0))  # seconds of the sample call
SETTLE_SECONDS = 240.0
WORKERS = 4
POISON = ("crash", "device")


def order(stage: Stage, longest_seconds: float) -> str:
    """Mostly work; one in fifty fails."""
    return "fail" if stage.random.random() < 0.02 else f"sleep {stage.random.uniform(0, longest_seconds):.2f}"


def orders(stage: Stage, count: int, longest_seconds: float) -> list[str]:
    return [order(stage, longest_seconds) for _ in range(count)]


async def kills(
    stage: Stage,
    *,
    jobs: int,
    rate: float,
    longest_seconds: float,
    count: int,
    every_seconds: float,
    again_within: float,
) -> list[Figure]:
    """SIGKILL to a random process, API or worker, starting or at work, again and again, under load to the last one."""
    cluster = stage.cluster
    await stage.start(2, WORKERS)

    def work() -> Iterator[str]:
        for offered in itertools.count():
            if offered >= jobs and len(cluster.told_to_end) >= count:
                return
            yield order(stage, longest_seconds)

    offering = asyncio.create_task(stage.load.offer(work(), rate))
    for _ in range(count):
        await asyncio.sleep(stage.random.uniform(0.5, 1.5) * every_seconds)
        await stage.workers_at_work(WORKERS - 1)
        cluster.kill(stage.random.choice(cluster.left_alone(cluster.members)))
    await offering
    settled = await stage.settle(SETTLE_SECONDS)
    again = recoveries(settled.accounts.steps, cluster.died_at)
    return [
        Figure.at_least("jobs", len(settled.accounts.ends), jobs),
        Figure.at_least("SIGKILLs", cluster.exit_codes[-signal.SIGKILL], count),
        Figure.none("processes that ended by themselves", cluster.exit_codes.total() - len(cluster.told_to_end)),
        *settled.figures,
        Figure.found("jobs that a killed worker had", len(again)),
        Figure.at_most("claimed again after a kill, p99 s", percentile(_seconds(again, False), 0.99), again_within),
        Figure.found("of those, on their last chance", len(_seconds(again, True))),
        Figure.found(
            "claimed for their last chance, which each worker takes alone, p99 s",
            percentile(_seconds(again, True), 0.99),
        ),
    ]


def _seconds(found: Sequence[Recovery], last_chance: bool) -> list[float]:
    return [each.seconds for each in found if each.last_chance is last_chance]


async def model(stage: Stage, *, jobs: int, count: int, rate: float) -> list[Figure]:
    """The same with the real model and real decoding. Between two kills some jobs end, however slow the machine is."""
    await stage.start(1, 2)
    clips = [call(start, end) for start, end in CLIPS]
    started = time.monotonic()
    offering = asyncio.create_task(stage.load.offer([""] * jobs, rate, clips))
    for _ in range(count):
        await stage.until_ended(await stage.ended() + jobs // (2 * count), SETTLE_SECONDS)
        await asyncio.sleep(stage.random.uniform(0, 2))
        stage.cluster.kill(stage.random.choice(stage.cluster.left_alone(stage.cluster.workers)))
    await offering
    settled = await stage.settle(SETTLE_SECONDS * 4)
    wordless = await stage.pool.fetchval(
        "SELECT count(*) FROM transcript WHERE json_array_length(transcript::json -> 'segments') = 0"
    )
    return [
        Figure.at_least("jobs on the real model", len(settled.accounts.ends), jobs),
        Figure.at_least("SIGKILLs", stage.cluster.exit_codes[-signal.SIGKILL], count),
        *settled.figures,
        Figure.none("transcripts without words", wordless),
        Figure.found("jobs/s, with all kills", jobs / (time.monotonic() - started)),
    ]


async def zombies(stage: Stage, *, count: int, workers: int, lease_seconds: float) -> list[Figure]:
    """Workers that stand still past their lease, and go on."""
    await stage.start(1, workers)
    stopped = 0
    work = itertools.takewhile(lambda _: stopped < count, iter(partial(order, stage, 1.0), None))
    offering = asyncio.create_task(stage.load.offer(work, 6.0))
    while stopped < count:
        busy = await stage.busy_workers()
        still = stage.random.sample(busy, min(len(busy), workers - 2, count - stopped))
        for member in still:
            member.send(signal.SIGSTOP)
        await asyncio.sleep(lease_seconds * 7 / 6)
        await _all_taken_back(stage, still)
        for member in still:
            member.send(signal.SIGCONT)
        stopped += len(still)
        await asyncio.sleep(lease_seconds / 6)
    await offering
    settled = await stage.settle(SETTLE_SECONDS)
    steps = settled.accounts.steps
    fenced = sum(step.holder not in (None, step.writer) and not step.claimer for step in steps)
    return [
        Figure.at_least("SIGSTOPs past the lease", stopped, count),
        Figure.at_least("leases lost meanwhile", fenced, 1),
        *settled.figures,
    ]


async def _all_taken_back(stage: Stage, members: Sequence[Member]) -> None:
    """Wait until these have no job: each lease ran out, and somebody else noticed."""
    names = [member.name for member in members]
    held = "SELECT count(*) FROM transcription WHERE leased_by = ANY($1)"
    async with asyncio.timeout(SETTLE_SECONDS):
        while await stage.pool.fetchval(held, names):
            await asyncio.sleep(POLL_SECONDS)


async def rolling(stage: Stage, *, count: int, every_seconds: float) -> list[Figure]:
    """SIGTERM to a random process under load, as a deploy does."""
    await stage.start(2, 3)
    work = [f"sleep {stage.random.uniform(0, 0.8):.2f}" for _ in range(round(count * every_seconds * 4))]
    offering = asyncio.create_task(stage.load.offer(work, 4.0))
    cluster = stage.cluster
    while len(cluster.told_to_end) < count:
        await asyncio.sleep(stage.random.uniform(0.5, 1.5) * every_seconds)
        if able := cluster.left_alone(await stage.at_work()):  # a second SIGTERM stops at once, as operators want it
            cluster.terminate(stage.random.choice(able))
    await offering
    settled = await stage.settle(SETTLE_SECONDS)
    ends = settled.accounts.ends
    told, clean = len(cluster.told_to_end), cluster.exit_codes[0]
    return [
        Figure.at_least("SIGTERMs", told, count),
        Figure.at_least("jobs", len(ends), len(work)),
        *settled.figures,
        Figure.none("failed", sum(end.status == Status.FAILED for end in ends)),
        Figure.none("crashes counted", sum(end.crashes for end in ends)),
        Figure.none("exit codes that are not 0", cluster.exit_codes.total() - clean),
        Figure.none("processes that ended by themselves", cluster.exit_codes.total() - told),
    ]


async def poison(stage: Stage, *, count: int, beside: int) -> list[Figure]:
    """Recordings that kill their worker, or its device, each time, among others; and each time one that never ends.

    One after the other: a job that meets three of them ends as they do (docs/decisions/0014).
    """
    await stage.start(1, 2)
    for poisonous in stage.random.sample(POISON * count, len(POISON) * count):
        hanging = await stage.load.post("hang")
        work = [poisonous, *orders(stage, beside, 0.3)]
        stage.random.shuffle(work)
        await stage.load.offer(work, 10.0)
        with suppress(TimeoutError):  # the accounts tell
            await stage.until_ended(len(stage.load.accepted) - 1, SETTLE_SECONDS)
        await stage.load.cancel(hanging)
    settled = await stage.settle(SETTLE_SECONDS)
    ended = [end for end in settled.accounts.ends if end.error_code == Crashed.code]
    innocent = [end for end in ended if stage.load.accepted[end.job] not in POISON]
    devices = [job for job, order in stage.load.accepted.items() if order == "device"]
    return [
        Figure.at_least("poisonous jobs that ended worker_crashed", len(ended) - len(innocent), len(POISON) * count),
        *settled.figures,
        Figure.none("others that ended with them", len(innocent)),
        Figure.none("claims by workers without a device", claims_in_vain(settled.accounts.steps, devices)),
    ]
