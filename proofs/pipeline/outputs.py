"""Kills the S3 server and the service while jobs end. Each file must be there, whole, before its webhook is sent."""

import asyncio
import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from random import Random

import httpx

from proofs.chaos.figures import Figure
from testing.receiver import Received, receiving
from testing.recordings import tone
from testing.s3_server import S3Server, s3_serving
from testing.service import Service, serving

PROGRAM = (sys.executable, "-m", "proofs.chaos.process", "--double", "--lease", "4", "--")
BUCKET = "results"
SETTLING_SECONDS = 300.0
FORMATS = "json", "srt"


async def outputs(folder: Path, *, jobs: int, kills: int) -> list[Figure]:
    """Runs `jobs` jobs, and kills the service and the S3 server in turn, `kills` times each."""
    random = Random(19)
    with s3_serving() as server:
        server.create_bucket(BUCKET)
        os.environ.update(server.environment())
        async with receiving() as receiver:
            seen_at_webhook: list[bool] = []

            async def look() -> None:
                with suppress(asyncio.CancelledError):  # the receiver is closed at the end of the scenario
                    await asyncio.to_thread(_note_whether_written, server, receiver.received[-1], seen_at_webhook)

            receiver.wait_in_answer = look
            settings = {
                "OUTPUT_BUCKETS": BUCKET,
                "OUTPUT_URL": f"s3://{BUCKET}/{{date}}/{{external_id}}",
                "OUTPUT_FORMATS": ",".join(FORMATS),
                "WEBHOOK_URLS": receiver.url("/200"),
                "ALLOWED_NETWORKS": "127.0.0.0/8",
            }
            ids: list[str] = []
            for number in range(kills):
                with serving(folder, program=PROGRAM, **settings) as service:
                    ids += await asyncio.to_thread(_create, service, len(ids), jobs // kills)
                    await asyncio.to_thread(server.kill)
                    await asyncio.sleep(random.uniform(0.1, 2))
                    if number % 2:
                        service.kill()
                    await asyncio.to_thread(server.revive)
                    await asyncio.sleep(random.uniform(0, 1))
                    if not number % 2:
                        service.kill()
            with serving(folder, program=PROGRAM, **settings) as service:
                await _settle(lambda: len(_jobs_of(receiver.received)) >= len(ids))
                return _figures(server, ids, receiver.received, seen_at_webhook, service)


def _create(service: Service, first: int, count: int) -> list[str]:
    return [service.create(tone(), external_id=f"call {number} 你好")["id"] for number in range(first, first + count)]


def _note_whether_written(server: S3Server, request: Received, seen: list[bool]) -> None:
    """Notes whether the files of a webhook's job can be read while its receiver answers."""
    event = json.loads(request.body)
    try:
        seen.append(all(_content(server, output["url"]) is not None for output in event["data"]["outputs"]))
    except httpx.TransportError:  # the server was killed after the files were written
        return


def _is_whole(content: str | None, form: str, job_id: str) -> bool:
    """Whether the object is there. The JSON has to be complete and of this job. The subtitles of a tone are empty."""
    if content is None or form != "json":
        return content is not None
    return bool(json.loads(content)["id"] == job_id)


def _content(server: S3Server, url: str) -> str | None:
    answer = server.filer.get("/buckets/" + url.removeprefix("s3://"))
    return answer.text if answer.is_success else None


def _jobs_of(received: Sequence[Received]) -> dict[str, set[str]]:
    """The event ids that were sent for each job."""
    events: dict[str, set[str]] = {}
    for request in received:
        events.setdefault(json.loads(request.body)["data"]["id"], set()).add(request.headers["webhook-id"])
    return events


async def _settle(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(SETTLING_SECONDS):
        while not condition():  # noqa: ASYNC110  it reads what the receiver has got
            await asyncio.sleep(0.2)


def _figures(
    server: S3Server, ids: Sequence[str], received: Sequence[Received], seen: Sequence[bool], service: Service
) -> list[Figure]:
    jobs = [service.read(f"/v1/transcriptions/{each}") for each in ids]
    files = [output for job in jobs for output in job["outputs"]]
    whole = [
        output["url"]
        for job in jobs
        for output in job["outputs"]
        if _is_whole(_content(server, output["url"]), output["format"], job["id"])
    ]
    events = _jobs_of(received)
    statuses = Counter(output["status"] for output in files)
    kept = [path for path in server.files(BUCKET) if "/.uploads/" not in path]
    return [
        Figure.found("jobs", len(ids)),
        Figure("files written", statuses["written"], f"{len(ids) * len(FORMATS)}", statuses["written"] == len(ids) * 2),
        Figure.none("files that are not whole or of another job", len(files) - len(whole)),
        Figure.none("objects in the bucket beside them", len(kept) - len(files)),
        Figure.none("jobs without a webhook", len(set(ids) - set(events))),
        Figure.none("jobs with two event ids", sum(len(each) > 1 for each in events.values())),
        Figure.none("webhooks that came before their files", sum(not each for each in seen)),
        Figure.none("jobs that were not completed", sum(job["status"] != "completed" for job in jobs)),
        Figure.found("webhooks whose files were looked up", len(seen)),
    ]
