"""Kills the service in the middle of a job. The repeated request must get the text of the same job."""

import asyncio
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx

from proofs.bench.ours import transcript_of
from proofs.chaos.figures import Figure
from proofs.door.site import Site, long_call, visiting, working
from testing.door import Answer, ask
from testing.service import Service, serving

AFTER_CLAIM_SECONDS = 1.0  # the worker has decoded the recording, and transcribes it


@dataclass(frozen=True)
class Attack:
    """`after_claim_seconds` is when the process dies. If `waits_for_leases`, those of killed workers end by themselves,
    and otherwise immediately."""

    recording: bytes
    waits_for_leases: bool
    after_claim_seconds: float


async def kills(
    folder: Path, *, seconds: float, wait_for_leases: bool = True, after_claim_seconds: float = AFTER_CLAIM_SECONDS
) -> list[Figure]:
    """Kills the whole service, then one of two processes that answer HTTP and the worker with it.

    All answers must have the text that an attempt without a kill gives.
    """
    folder.mkdir(exist_ok=True)
    attack = Attack(long_call(folder, seconds), wait_for_leases, after_claim_seconds)
    text, alone = await _whole(folder / "whole", attack)
    return [*alone, *await _parts(folder / "parts", attack, text)]


async def _whole(folder: Path, attack: Attack) -> tuple[str, list[Figure]]:
    """Returns the text of an attempt that nobody killed, too."""
    with serving(folder) as service:
        job = await _killed_in_the_middle(service, attack)
    with serving(folder) as service:
        async with visiting(service) as site:
            if not attack.waits_for_leases:
                await site.expire_leases()
            answer, jobs = await ask(site.client, attack.recording), await site.jobs()
            text = transcript_of(service, service.create(attack.recording))["text"]
            what = "the service was killed and started again"
            return text, [*await _judged(what, site, jobs, job, text, [answer])]


async def _parts(folder: Path, attack: Attack, text: str) -> list[Figure]:
    """The client repeats its request at the other process. While it waits, the worker is killed too."""
    with ExitStack() as processes:
        first = processes.enter_context(serving(folder, "--no-executor"))
        second = processes.enter_context(serving(folder, "--no-executor"))
        worker = processes.enter_context(working(folder))
        job = await _killed_in_the_middle(first, attack)
        async with visiting(second) as site:
            asking = [asyncio.create_task(ask(site.client, attack.recording)) for _ in range(2)]
            worker.kill()
            await asyncio.to_thread(worker.wait)
            if not attack.waits_for_leases:
                await site.expire_leases()
            processes.enter_context(working(folder))
            answers = await asyncio.gather(*asking)
            what = "one of two processes and the worker were killed"
            return await _judged(what, site, await site.jobs(), job, text, answers)


async def _killed_in_the_middle(service: Service, attack: Attack) -> UUID:
    """Kills the process that a client waits for, while the job runs. Returns the job's id."""
    async with visiting(service) as site:
        asking = asyncio.create_task(ask(site.client, attack.recording))
        job = await site.newest("in_progress")
        await asyncio.sleep(attack.after_claim_seconds)
        service.kill()
        with suppress(httpx.TransportError):
            await asking
            raise AssertionError("the killed process answered")
    return job


async def _judged(
    what: str, site: Site, jobs: Sequence[Any], job: UUID, text: str, answers: Sequence[Answer]
) -> list[Figure]:
    row = await site.job(job)
    return [
        Figure.none(f"{what}: repeated requests with another job", sum(answer.id != job for answer in answers)),
        Figure.none(f"{what}: jobs beyond the first", len(jobs) - 1),
        Figure.none(f"{what}: jobs that were not completed", row["status"] != "completed"),
        Figure(f"{what}: attempts", row["attempts"], "2", row["attempts"] == 2),
        Figure.none(f"{what}: answers with another text", sum(answer.text != text for answer in answers)),
    ]
