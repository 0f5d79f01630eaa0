"""Lets many clients wait at the same time in one process, and measures what their waiting costs.

All clients send their requests at the same moment, and every second one asks for a stream. A client that is refused
for now repeats its request, because the process looks at only a few new recordings at the same time. Each figure
stands beside the same figure without waiting clients, which is measured in turn in the same run.
"""

import asyncio
from collections.abc import Awaitable, Coroutine, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from uuid import UUID

from proofs.bench.ours import asking_for_health
from proofs.chaos.figures import Figure, percentile
from proofs.door.site import PATIENCE_SECONDS, Site, clips, visiting, working
from proofs.soak.scenarios import Held
from testing.door import Refused, ask, listen, patiently
from testing.service import serving

CLIP_SECONDS = 2.0
HEALTH_MS = 100.0
GROWTH_MIB = 64.0
POOL_GROWTH = 8  # the pools of threads and of connections may still grow, whatever the number of clients
SAMPLING_SECONDS = 0.2
SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
URGENCY = "3"  # the priority of the door's jobs


@dataclass(frozen=True)
class Used:
    """What the process uses: memory and threads, connections to the database, and how many of these are at work."""

    held: Held
    connections: int
    at_work: float


async def waiting(folder: Path, *, clients: int, seconds: float) -> list[Figure]:
    """Clients wait while there is no worker. Then a worker starts, and all of them get their text."""
    calm, crowded = clips(2 * clients, CLIP_SECONDS)[::2], clips(2 * clients, CLIP_SECONDS)[1::2]
    with serving(folder, "--no-executor") as service:
        async with visiting(service) as site:
            await _posted(site, calm)
            alone, before = await _watched(site, seconds)
            for job in await site.jobs():
                (await site.client.delete(f"/v1/transcriptions/{job['id']}")).raise_for_status()
            asking = [asyncio.create_task(waiter) for waiter in _waiters(site, crowded)]
            await _until_all_wait(site, asking)
            together, during = await _watched(site, seconds)
            left = sum(task.done() for task in asking)
            with working(folder):
                answers = await asyncio.gather(*asking)
            alone_again, _ = await _watched(site, seconds)
    return [
        *_compared("nobody waits, no worker", alone + alone_again, f"{clients} wait, no worker", together),
        Figure.none("clients that got an answer before the worker started", left),
        Figure.none("clients without the text of a job of their own", clients - len(dict(answers))),
        Figure.found("connections to the database, nobody waits", before.connections),
        Figure.within(f"more connections while {clients} wait", during.connections - before.connections, POOL_GROWTH),
        Figure.within("connections at work, median of the samples", during.at_work, 1),
        Figure.found("threads, nobody waits", before.held.threads),
        Figure.within(f"more threads while {clients} wait", during.held.threads - before.held.threads, POOL_GROWTH),
        Figure.found("memory, nobody waits, MiB", before.held.memory_mib),
        Figure.within(
            f"more memory while {clients} wait, MiB", during.held.memory_mib - before.held.memory_mib, GROWTH_MIB
        ),
    ]


async def at_work(folder: Path, *, clients: int) -> list[Figure]:
    """Clients wait for a process that answers them and transcribes their recordings at the same time."""
    calm, crowded = clips(2 * clients, CLIP_SECONDS)[::2], clips(2 * clients, CLIP_SECONDS)[1::2]
    texts = dict[UUID, str]()

    async def post_and_poll() -> None:
        await _posted(site, calm)
        while any(job["completed_at"] is None for job in await site.jobs()):
            await asyncio.sleep(SAMPLING_SECONDS)

    async def post_and_wait() -> None:
        texts.update(await asyncio.gather(*_waiters(site, crowded)))

    with serving(folder) as service:
        async with visiting(service) as site:
            alone = await _health_during(site, post_and_poll())
            together = await _health_during(site, post_and_wait())
    return [
        *_compared(
            f"{clients} jobs run, nobody waits", alone, f"{clients} wait for jobs of the same process", together
        ),
        Figure.none("clients without the text of a job of their own", clients - len(texts)),
    ]


def _compared(calm: str, alone: Sequence[float], crowded: str, together: Sequence[float]) -> list[Figure]:
    return [
        *(Figure.found(f"/healthz, {calm}, {name} ms", percentile(alone, share)) for name, share in SHARES.items()),
        Figure.found(f"/healthz, {crowded}, p50 ms", percentile(together, 0.5)),
        Figure.at_most(f"/healthz, {crowded}, p95 ms", percentile(together, 0.95), HEALTH_MS),
        Figure.found(f"/healthz, {crowded}, p99 ms", percentile(together, 0.99)),
    ]


def _waiters(site: Site, recordings: Sequence[bytes]) -> list[Coroutine[None, None, tuple[UUID, str]]]:
    """Returns one client for each recording. A client waits for its text, and returns it with the id of its job."""

    async def whole(recording: bytes) -> tuple[UUID, str]:
        answer = await patiently(lambda: ask(site.client, recording))
        return answer.id, answer.text

    async def streamed(recording: bytes) -> tuple[UUID, str]:
        stream = await patiently(lambda: listen(site.client, recording))
        [done] = stream.of_type("done")
        return stream.id, str(done.data["text"])

    return [(streamed if number % 2 else whole)(recording) for number, recording in enumerate(recordings)]


async def _posted(site: Site, recordings: Sequence[bytes]) -> None:
    """Posts ordinary jobs, all at the same time. Their clients do not wait for the end."""

    async def post(recording: bytes) -> None:
        answer = await site.client.post(
            "/v1/transcriptions", files={"file": ("call.wav", recording)}, data={"priority": URGENCY}
        )
        if answer.status_code != 202:
            raise Refused(answer)

    await asyncio.gather(*(patiently(partial(post, recording)) for recording in recordings))


async def _until_all_wait(site: Site, asking: Sequence["asyncio.Task[object]"]) -> None:
    """Returns when each client has a job. Raises what a client raised."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while len(await site.jobs()) < len(asking):
            for task in asking:
                if task.done():
                    task.result()
            await asyncio.sleep(SAMPLING_SECONDS)


async def _health_during(site: Site, work: Awaitable[None]) -> list[float]:
    """Returns the milliseconds of `/healthz` while `work` is done."""
    with asking_for_health(site.service.url) as found:
        await work
    return found


async def _watched(site: Site, seconds: float) -> tuple[list[float], Used]:
    """Returns the milliseconds of `/healthz`, and what the process used, during `seconds`.

    This is the most that it used, except for the connections at work, of which it is the median.
    """
    seen = list[Used]()

    async def watch() -> None:
        for _ in range(max(1, round(seconds / SAMPLING_SECONDS))):
            seen.append(await _used(site))
            await asyncio.sleep(SAMPLING_SECONDS)

    health = await _health_during(site, watch())
    held = Held(
        max(used.held.memory_mib for used in seen),
        max(used.held.open_files for used in seen),
        max(used.held.threads for used in seen),
    )
    return health, Used(held, max(used.connections for used in seen), median(used.at_work for used in seen))


async def _used(site: Site) -> Used:
    statement = """
        SELECT count(*) AS connections, count(*) FILTER (WHERE state <> 'idle') AS at_work
        FROM pg_stat_activity WHERE application_name LIKE 'callscribe@%'
    """
    row = await site.database.fetchrow(statement)
    assert row is not None
    return Used(Held.by(site.service), row["connections"], row["at_work"])
