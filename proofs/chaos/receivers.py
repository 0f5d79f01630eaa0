"""Lets servers answer without end and send nothing useful, as receivers of webhooks and as sources of recordings.

Other clients of the service must not notice these servers.
"""

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

import httpx

from proofs.chaos.cluster import ROOT
from proofs.chaos.figures import Figure, percentile
from proofs.chaos.load import KEYS
from proofs.chaos.stage import Stage
from testing.endless_answers import ENDLESS
from testing.recordings import tone

ASKING_SECONDS = 0.1
SETTLE_SECONDS = 120.0
LIST_P95_SECONDS = 1.0
HEALTH_P95_SECONDS = 0.25
KINDS = ("early", *ENDLESS)  # interim answers are twice as likely as each other kind


async def receivers(stage: Stage, *, receivers: int, origins: int, seconds: float) -> list[Figure]:
    """Posts jobs whose second receiver never ends its answer, jobs whose recording never comes, and usual jobs."""
    with _hostile() as port:
        await stage.start(1, 1)
        headers = {"Authorization": f"Bearer {KEYS['modest']}"}
        async with httpx.AsyncClient(headers=headers, timeout=60.0, trust_env=False) as client:
            fetched = [await _post_url(stage, client, f"http://127.0.2.{each + 1}:{port}") for each in range(origins)]
            for each in range(receivers):
                await _post(stage, client, f"http://127.0.1.{each + 1}:{port}")
            usual = asyncio.create_task(stage.load.offer(["sleep 0.05"] * round(2 * seconds), 2.0))
            lists, health = await asyncio.gather(
                _times(client, f"{stage.cluster.urls[0]}/v1/transcriptions?limit=20", seconds),
                _times(client, f"{stage.cluster.urls[0]}/healthz", seconds),
            )
            await usual
        for job in fetched:
            await stage.load.cancel(job)
        settled = await stage.settle(SETTLE_SECONDS)
    tried = await stage.pool.fetchval("SELECT count(*) FROM delivery_attempt WHERE error IS NOT NULL")
    steps = settled.accounts.steps
    return [
        Figure.at_least("jobs", len(settled.accounts.ends), receivers + origins),
        Figure.at_least("delivery attempts without an answer", tried, receivers // 2),
        *settled.figures,
        Figure.none("leases lost", sum(step.holder not in (None, step.writer) and not step.claimer for step in steps)),
        Figure.none("crashes counted", sum(end.crashes for end in settled.accounts.ends)),
        Figure.at_most("a key's list, p95 s", percentile(lists, 0.95), LIST_P95_SECONDS),
        Figure.at_most("/healthz, p95 s", percentile(health, 0.95), HEALTH_P95_SECONDS),
        Figure.none("processes that ended by themselves", stage.cluster.exit_codes.total()),
    ]


async def _post(stage: Stage, client: httpx.AsyncClient, address: str) -> None:
    url = f"{address}/{stage.random.choice(KINDS)}"
    fields = {"prompt": "sleep 0", "webhook_url": [stage.events.fields["webhook_url"], url]}
    await _accepted(stage, client, "sleep 0", data=fields, files={"file": ("call.wav", tone())})


async def _post_url(stage: Stage, client: httpx.AsyncClient, address: str) -> UUID:
    body = {"url": f"{address}/{stage.random.choice(KINDS)}", **stage.events.fields}
    return await _accepted(stage, client, "fetch", json=body)


async def _accepted(stage: Stage, client: httpx.AsyncClient, order: str, **body: object) -> UUID:
    response = await client.post(f"{stage.cluster.urls[0]}/v1/transcriptions", **body)  # type: ignore[arg-type]
    response.raise_for_status()
    job = UUID(response.json()["id"])
    stage.load.accepted[job] = order
    return job


async def _times(client: httpx.AsyncClient, url: str, seconds: float) -> list[float]:
    """Returns the seconds that each answer took. The requests are sent one after the other."""
    ends_at, times = time.monotonic() + seconds, list[float]()
    while time.monotonic() < ends_at:
        asked_at = time.monotonic()
        (await client.get(url)).raise_for_status()
        times.append(time.monotonic() - asked_at)
        await asyncio.sleep(ASKING_SECONDS)
    return times


@contextmanager
def _hostile() -> Iterator[int]:
    """Runs a process that serves at every address of this machine. Yields its port."""
    command = [sys.executable, "-m", "testing.endless_answers"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline())
        finally:
            process.kill()
