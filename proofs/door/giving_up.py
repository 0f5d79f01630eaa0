"""Lets clients hang up, time out and repeat, and send the same request twice at the same moment."""

import asyncio
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import UUID

import openai

from proofs.chaos.figures import Figure
from proofs.door.site import POLL_SECONDS, Site, clips, long_call, visiting, working
from testing.door import MODEL, ask, connected
from testing.service import serving

CANCELLED_WITHIN_SECONDS = 35.0  # a job may stay without a client for 20 s, and then a sweep has to find it
ERASED_WITHIN_SECONDS = 10.0
RETRIES = 2
LEFT_TABLES = ("awaited_job", "transcript_part", "transcript")


async def hang_ups(folder: Path, *, seconds: float) -> list[Figure]:
    """A client of a stream hangs up while its job runs, and another one while its job waits: both are cancelled."""
    folder.mkdir(exist_ok=True)
    with serving(folder / "data", DEVICE="cpu") as service:
        async with visiting(service) as site:
            running, took = await _abandoned(site, long_call(folder, seconds), "in_progress", stream="true")
            left = await _left_of(site, running["id"])
    with serving(folder / "waiting", "--no-executor") as service:
        async with visiting(service) as site:
            waiting, took_waiting = await _abandoned(site, clips(1, 3.0)[0], "pending")
            left_waiting = await _left_of(site, waiting["id"])
    return [
        Figure.none("abandoned jobs that were not cancelled while they ran", running["status"] != "cancelled"),
        Figure.at_most("seconds from the hang-up to the end of a running job", took, CANCELLED_WITHIN_SECONDS),
        Figure.none("files, rows and leases that were left of it", len(left), left),
        Figure.none("abandoned jobs that were not cancelled while they waited", waiting["status"] != "cancelled"),
        Figure.at_most("seconds from the hang-up to the end of a waiting job", took_waiting, CANCELLED_WITHIN_SECONDS),
        Figure.none("files, rows and leases that were left of it", len(left_waiting), left_waiting),
    ]


async def kept(folder: Path) -> list[Figure]:
    """A client hangs up, but the operator keeps such jobs: the job is completed."""
    with serving(folder, "--no-executor", OPENAI_KEEP_ABANDONED="true") as service:
        async with visiting(service) as site:
            async with connected(service.port, clips(1, 3.0)[0]):
                job = await site.newest("pending")
            await asyncio.sleep(CANCELLED_WITHIN_SECONDS)
            waits = (await site.job(job))["status"] == "pending"
            with working(folder):
                row = await site.ended(job)
    return [
        Figure.none(f"kept jobs that did not wait any longer after {CANCELLED_WITHIN_SECONDS:g} s", not waits),
        Figure.none("kept jobs that were not completed", row["status"] != "completed"),
    ]


async def repeats(folder: Path, *, timeout_seconds: float) -> list[Figure]:
    """The client library times out twice while its job runs. The third request gets the text.

    The worker is stopped from the moment when it has claimed the job until the third request. So the job takes long
    enough on every machine.
    """
    [recording] = clips(1, 20.0)
    sent = list[float]()
    with serving(folder, "--no-executor") as service, working(folder) as worker:
        async with visiting(service) as site:
            asking = asyncio.create_task(asyncio.to_thread(_transcribe, service.url, recording, timeout_seconds, sent))
            job = await site.newest("in_progress", "completed")
            worker.send_signal(signal.SIGSTOP)
            while len(sent) <= RETRIES and not asking.done():
                await asyncio.sleep(POLL_SECONDS)
            worker.send_signal(signal.SIGCONT)
            heard = await asking
            jobs = await site.jobs()
            answer = await ask(site.client, recording)
            twice = await _asked_twice(site)
    return [
        Figure("requests of the client library", len(sent), str(RETRIES + 1), len(sent) == RETRIES + 1),
        *_one_job("that the repeated requests made", jobs),
        Figure.none("repeated requests with another text than the job", heard != answer.text or not heard),
        Figure.none("later requests of the same that made a new job", answer.id != job),
        *twice,
    ]


async def _asked_twice(site: Site) -> list[Figure]:
    """Sends two equal requests at the same moment."""
    before = {job["id"] for job in await site.jobs()}
    [recording] = clips(1, 4.0)
    first, second = await asyncio.gather(ask(site.client, recording), ask(site.client, recording))
    made = [job for job in await site.jobs() if job["id"] not in before]
    return [
        *_one_job("that two requests at the same moment made", made),
        Figure.none("of the two, answers with another id or text", (first.id, first.text) != (second.id, second.text)),
    ]


def _one_job(whose: str, jobs: Sequence[Any]) -> list[Figure]:
    attempts = sum(job["attempts"] for job in jobs)
    return [
        Figure(f"jobs {whose}", len(jobs), "1", len(jobs) == 1),
        Figure("attempts of them", attempts, "1", attempts == 1),
    ]


async def _abandoned(site: Site, recording: bytes, status: str, **fields: str) -> tuple[Any, float]:
    """Hangs up when the job has this status. Returns the job's row at its end, and the seconds that this took."""
    async with connected(site.service.port, recording, **fields):
        job = await site.newest(status)
    hung_up = time.monotonic()
    row = await site.ended(job)
    return row, time.monotonic() - hung_up


async def _left_of(site: Site, job: UUID) -> list[str]:
    """Returns what is left of a job some time after its end: files, a lease, and rows of other tables."""
    with suppress(TimeoutError):
        async with asyncio.timeout(ERASED_WITHIN_SECONDS):
            while await _found_of(site, job):
                await asyncio.sleep(POLL_SECONDS)
    return await _found_of(site, job)


async def _found_of(site: Site, job: UUID) -> list[str]:
    files = [str(path) for path in site.service.work_files() + site.service.stored_files()]
    leases = ["a lease"] if (await site.job(job))["lease_token"] is not None else []
    rows = {
        table: await site.database.fetchval(f"SELECT count(*) FROM {table} WHERE transcription_id = $1", job)
        for table in LEFT_TABLES
    }
    return files + leases + [f"{count} rows of {table}" for table, count in rows.items() if count]


def _transcribe(url: str, recording: bytes, timeout_seconds: float, sent: list[float]) -> str:
    """Sends a recording with OpenAI's library, and adds the moment of each request to `sent`."""

    def note(_: object) -> None:
        sent.append(time.monotonic())

    with (
        openai.DefaultHttpxClient(event_hooks={"request": [note]}, trust_env=False) as transport,
        openai.OpenAI(
            base_url=f"{url}/v1",
            api_key="any",
            timeout=timeout_seconds,
            max_retries=RETRIES,
            http_client=transport,
        ) as client,
    ):
        return client.audio.transcriptions.create(model=MODEL, file=("call.wav", recording)).text
