"""Kills, stops and terminates processes. No accepted job may be lost or finished twice."""

import asyncio
import itertools
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial

from app.jobs.lifecycle import Crashed, Status
from proofs.chaos.audit import Recovery, claims_without_a_device, recoveries
from proofs.chaos.cluster import Member
from proofs.chaos.figures import Figure, percentile
from proofs.chaos.stage import POLL_SECONDS, Stage
from testing.recordings import call

CLIPS = ((17.8, 21.0), (0.0, 4.0), (5.5, 9.0))  # seconds of the sample call
SETTLE_SECONDS = 240.0
WORKERS = 4
POISON = ("crash", "device")


def order(stage: Stage, longest_seconds: float) -> str:
    """Returns an order for the engine double. Most orders are work, and one in fifty is to fail."""
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
    """Kills random processes, APIs and workers, with SIGKILL. Clients post jobs until the last kill."""
    cluster = stage.cluster
    await stage.start(2, WORKERS)

    def work() -> Iterator[str]:
        for offered in itertools.count():
            if offered >= jobs and len(cluster.signalled) >= count:
                return
            yield order(stage, longest_seconds)

    offering = asyncio.create_task(stage.load.offer(work(), rate))
    for _ in range(count):
        await asyncio.sleep(stage.random.uniform(0.5, 1.5) * every_seconds)
        await stage.workers_at_work(WORKERS - 1)
        cluster.kill(stage.random.choice(cluster.not_signalled(cluster.members)))
    await offering
    settled = await stage.settle(SETTLE_SECONDS)
    again = recoveries(settled.accounts.steps, cluster.died_at)
    return [
        Figure.at_least("jobs", len(settled.accounts.ends), jobs),
        Figure.at_least("SIGKILLs", cluster.exit_codes[-signal.SIGKILL], count),
        Figure.none("processes that ended by themselves", cluster.exit_codes.total() - len(cluster.signalled)),
        *settled.figures,
        Figure.found("jobs that a killed worker held", len(again)),
        Figure.at_most("claimed again after a kill, p99 s", percentile(_seconds(again, False), 0.99), again_within),
        Figure.found("of those, on their last chance", len(_seconds(again, True))),
        Figure.found(
            "claimed again on their last chance, p99 s (a worker runs such jobs one at a time)",
            percentile(_seconds(again, True), 0.99),
        ),
    ]


def _seconds(found: Sequence[Recovery], last_chance: bool) -> list[float]:
    return [each.seconds for each in found if each.last_chance is last_chance]


async def model(stage: Stage, *, jobs: int, count: int, rate: float) -> list[Figure]:
    """Kills workers that use the real model and FFmpeg. Some jobs end between two kills, also on a slow machine."""
    await stage.start(1, 2)
    clips = [call(start, end) for start, end in CLIPS]
    started = time.monotonic()
    offering = asyncio.create_task(stage.load.offer([""] * jobs, rate, clips))
    for _ in range(count):
        await stage.until_ended(await stage.ended() + jobs // (2 * count), SETTLE_SECONDS)
        await asyncio.sleep(stage.random.uniform(0, 2))
        stage.cluster.kill(stage.random.choice(stage.cluster.not_signalled(stage.cluster.workers)))
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
    """Stops workers for longer than their lease, then lets them continue."""
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
    """Waits until these workers hold no job, because each lease ended and another process took the job back."""
    names = [member.name for member in members]
    held = "SELECT count(*) FROM transcription WHERE leased_by = ANY($1)"
    async with asyncio.timeout(SETTLE_SECONDS):
        while await stage.pool.fetchval(held, names):
            await asyncio.sleep(POLL_SECONDS)


async def rolling(stage: Stage, *, count: int, every_seconds: float) -> list[Figure]:
    """Sends SIGTERM to random processes under load, as a deployment does."""
    await stage.start(2, 3)
    work = [f"sleep {stage.random.uniform(0, 0.8):.2f}" for _ in range(round(count * every_seconds * 4))]
    offering = asyncio.create_task(stage.load.offer(work, 4.0))
    cluster = stage.cluster
    while len(cluster.signalled) < count:
        await asyncio.sleep(stage.random.uniform(0.5, 1.5) * every_seconds)
        if able := cluster.not_signalled(await stage.at_work()):  # a second SIGTERM would stop a process immediately
            cluster.terminate(stage.random.choice(able))
    await offering
    settled = await stage.settle(SETTLE_SECONDS)
    ends = settled.accounts.ends
    terminated, clean = len(cluster.signalled), cluster.exit_codes[0]
    return [
        Figure.at_least("SIGTERMs", terminated, count),
        Figure.at_least("jobs", len(ends), len(work)),
        *settled.figures,
        Figure.none("failed", sum(end.status == Status.FAILED for end in ends)),
        Figure.none("crashes counted", sum(end.crashes for end in ends)),
        Figure.none("exit codes that are not 0", cluster.exit_codes.total() - clean),
        Figure.none("processes that ended by themselves", cluster.exit_codes.total() - terminated),
    ]


async def poison(stage: Stage, *, count: int, others: int) -> list[Figure]:
    """Posts recordings that kill their worker or break its device, each among other jobs and next to one that hangs.

    They are posted one after the other, because a job that runs next to three of them would end as they do
    (docs/decisions/0014).
    """
    await stage.start(1, 2)
    for poisonous in stage.random.sample(POISON * count, len(POISON) * count):
        hanging = await stage.load.post("hang")
        work = [poisonous, *orders(stage, others, 0.3)]
        stage.random.shuffle(work)
        await stage.load.offer(work, 10.0)
        with suppress(TimeoutError):  # the accounts show which jobs have not ended
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
        Figure.none("claims by workers without a device", claims_without_a_device(settled.accounts.steps, devices)),
    ]
