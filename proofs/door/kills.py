"""Kills the service in the middle of a job. The repeated request must get the text of the same job."""

import asyncio
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from uuid import UUID

import httpx

from proofs.bench.ours import transcript_of
from proofs.chaos.figures import Figure
from proofs.door.site import Site, long_call, visiting, working
from testing.door import Answer, ask
from testing.service import Service, serving

AFTER_CLAIM_SECONDS = 1.0  # the worker has decoded the recording, and transcribes it


async def kills(folder: Path, *, seconds: float, wait_for_leases: bool = True) -> list[Figure]:
    """Kills the whole service, then one of two processes that answer HTTP and the worker with it.

    If `wait_for_leases` is not set, the leases of killed workers end immediately.
    """
    folder.mkdir(exist_ok=True)
    recording = long_call(folder, seconds)
    alone = await _whole(folder / "whole", recording, wait_for_leases)
    return [*alone, *await _parts(folder / "parts", recording, wait_for_leases)]


async def _whole(folder: Path, recording: bytes, wait_for_leases: bool) -> list[Figure]:
    with serving(folder) as service:
        job = await _killed_in_the_middle(service, recording)
    with serving(folder) as service:
        async with visiting(service) as site:
            if not wait_for_leases:
                await site.expire_leases()
            answer = await ask(site.client, recording)
            return await _judged("the service was killed and started again", site, recording, job, [answer])


async def _parts(folder: Path, recording: bytes, wait_for_leases: bool) -> list[Figure]:
    """The client repeats its request at the other process. While it waits, the worker is killed too."""
    with ExitStack() as processes:
        first = processes.enter_context(serving(folder, "--no-executor"))
        second = processes.enter_context(serving(folder, "--no-executor"))
        worker = processes.enter_context(working(folder))
        job = await _killed_in_the_middle(first, recording)
        async with visiting(second) as site:
            asking = [asyncio.create_task(ask(site.client, recording)) for _ in range(2)]
            worker.kill()
            await asyncio.to_thread(worker.wait)
            if not wait_for_leases:
                await site.expire_leases()
            processes.enter_context(working(folder))
            answers = await asyncio.gather(*asking)
            return await _judged("one of two processes and the worker were killed", site, recording, job, answers)


async def _killed_in_the_middle(service: Service, recording: bytes) -> UUID:
    """Kills the process that a client waits for, while the job runs. Returns the job's id."""
    async with visiting(service) as site:
        asking = asyncio.create_task(ask(site.client, recording))
        job = await site.newest("in_progress")
        await asyncio.sleep(AFTER_CLAIM_SECONDS)
        service.kill()
        with suppress(httpx.TransportError):
            await asking
            raise AssertionError("the killed process answered")
    return job


async def _judged(what: str, site: Site, recording: bytes, job: UUID, answers: Sequence[Answer]) -> list[Figure]:
    jobs, row = await site.jobs(), await site.job(job)
    expected = transcript_of(site.service, site.service.create(recording))["text"]
    return [
        Figure.none(f"{what}: repeated requests with another job", sum(answer.id != job for answer in answers)),
        Figure.none(f"{what}: jobs beyond the first", len(jobs) - 1),
        Figure.none(f"{what}: jobs that were not completed", row["status"] != "completed"),
        Figure(f"{what}: attempts", row["attempts"], "2", row["attempts"] == 2),
        Figure.none(f"{what}: answers with another text", sum(answer.text != expected for answer in answers)),
    ]
