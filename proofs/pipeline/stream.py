"""Kills the Redis server and two consumers while messages arrive. Each becomes one job, or is refused once."""

import asyncio
import json
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from threading import Thread
from typing import Any

import redis
from sqlmodel import col, select

from app.database.connections import Database, migrate
from app.database.embedded import EmbeddedPostgres
from app.errors import WorkerCrashed
from app.intake.stream.consumer import STREAM as CALLER
from app.jobs.lifecycle import FINAL
from app.jobs.models import Transcription
from proofs.chaos.figures import Figure
from testing.origin import Origin, answering
from testing.recordings import tone
from testing.redis_server import DURABLE, RedisProcess, redis_serving
from testing.service import Service, serving

PROGRAM = (sys.executable, "-m", "proofs.chaos.process", "--double", "--lease", "4", "--idle", "3", "--")
REQUESTS, REJECTED, RESULTS = "callscribe:requests", "callscribe:rejected", "callscribe:results"
SETTLING_SECONDS = 400.0
INVALID = {"language": "nowhere"}, {"url": "ftp://files/call.wav"}, {"surprise": "1"}


class Consumer:
    """A process of the service that is killed and started again."""

    def __init__(self, folder: Path, settings: Mapping[str, str]) -> None:
        self._folder, self._settings = folder, settings
        self._stack, self._service = self._started()

    def kill(self) -> None:
        self._service.kill()
        self._stack.close()

    def start(self) -> None:
        self._stack, self._service = self._started()

    def _started(self) -> tuple[ExitStack, Service]:
        stack = ExitStack()
        return stack, stack.enter_context(serving(self._folder, program=PROGRAM, **self._settings))


class Sender(Thread):
    """Adds the messages, at a pace that keeps some arriving until the last kill. Repeats what got no reply."""

    def __init__(self, server: RedisProcess, origin: Origin, messages: int, random: Random) -> None:
        super().__init__(daemon=True)
        self._server, self._url, self._messages, self._random = server, origin.url("/call.wav"), messages, random
        self.acknowledged: dict[str, bool] = {}
        self.share = 0.0  # of the kills that have happened

    def run(self) -> None:
        for number in range(self._messages):
            while number > self._messages * (self.share + 0.05):
                time.sleep(0.02)
            fields, valid = self._message(number)
            while True:
                with suppress(redis.RedisError):
                    self.acknowledged[self._server.add(**fields)] = valid
                    break
                time.sleep(0.05)

    def _message(self, number: int) -> tuple[dict[str, str], bool]:
        fields = {"url": self._url, "external_id": f"call {number} 你好", "file_name": f"call {number}.wav"}
        valid = number % 10 != 0
        if not valid:
            fields |= self._random.choice(INVALID)
        return ({"request": json.dumps(fields)} if number % 20 > 9 else fields), valid


@dataclass
class Outcome:
    """What is found at the end: entries by their ids, jobs by the ids of their entries."""

    entries: Mapping[str, bool]  # whether each is valid
    unsent: int
    jobs: Mapping[str, Transcription]
    rejected: Sequence[Mapping[str, str]]
    results: Sequence[Mapping[str, str]]
    pending: int
    consumers: int


async def stream(folder: Path, *, messages: int, kills: int, seed: int = 19) -> list[Figure]:
    """Sends `messages` while each of two consumers is killed `kills` times, and the Redis server all the time."""
    await asyncio.to_thread(folder.mkdir, parents=True)
    with redis_serving(*DURABLE) as server, answering() as origin, _postgres(folder) as address:
        origin.answers["/call.wav"] = lambda exchange: exchange.whole(tone())
        await migrate(address)
        settings = {
            "DATABASE_URL": address,
            "STORE_URL": str(folder / "audio"),
            "MODEL": "base",
            "REDIS_URL": server.url,
            "REDIS_RESULTS": RESULTS,
            "ALLOWED_NETWORKS": "127.0.0.0/8",
            "MAX_PENDING": "100",  # so that entries also wait because the queue is full
        }
        consumers = await asyncio.gather(
            *(asyncio.to_thread(Consumer, folder / f"consumer-{number}", settings) for number in range(2))
        )
        sender = Sender(server, origin, messages, Random(seed))
        try:
            sender.start()
            redis_kills = await _kill_again_and_again(server, consumers, kills, Random(seed), sender)
            await asyncio.to_thread(sender.join)
            outcome = await _settled(server, address, sender)
        finally:
            for consumer in consumers:
                consumer.kill()
        killed = [Figure.found("kills of consumers", 2 * kills), Figure.found("kills of the Redis server", redis_kills)]
        return killed + _figures(outcome)


async def _kill_again_and_again(
    server: RedisProcess, consumers: Sequence[Consumer], kills: int, random: Random, sender: Sender
) -> int:
    """Returns how often the Redis server was killed."""
    redis_kills, over = 0, asyncio.Event()

    async def kill(consumer: Consumer) -> None:
        for _ in range(kills):
            await asyncio.sleep(random.uniform(0.2, 4))
            await asyncio.to_thread(consumer.kill)
            await asyncio.to_thread(consumer.start)
            sender.share += 1 / kills / len(consumers)

    async def kill_redis() -> None:
        nonlocal redis_kills
        while not over.is_set():
            await asyncio.sleep(random.uniform(1, 6))
            await asyncio.to_thread(_kill_and_start, server, random.uniform(0, 2))
            redis_kills += 1

    killing_redis = asyncio.create_task(kill_redis())
    await asyncio.gather(*map(kill, consumers))
    over.set()
    await killing_redis
    sender.share = 1.0
    return redis_kills


def _kill_and_start(server: RedisProcess, seconds: float) -> None:
    server.kill()
    time.sleep(seconds)
    server.start()


@contextmanager
def _postgres(folder: Path) -> Iterator[str]:
    embedded = EmbeddedPostgres(folder / "postgres")
    try:
        yield embedded.start()
    finally:
        embedded.stop()


async def _settled(server: RedisProcess, address: str, sender: Sender) -> Outcome:
    database, deadline = Database(address), time.monotonic() + SETTLING_SECONDS
    try:
        while True:
            outcome = await _outcome(server, database, sender)
            if _is_settled(outcome) or time.monotonic() > deadline:
                return outcome
            await asyncio.sleep(1)
    finally:
        await database.close()


async def _outcome(server: RedisProcess, database: Database, sender: Sender) -> Outcome:
    entries = {entry_id: _is_valid(fields) for entry_id, fields in server.client.xrange(REQUESTS)}
    async with database.transaction() as session:
        rows = (await session.exec(select(Transcription).where(col(Transcription.caller) == CALLER.name))).all()
    return Outcome(
        entries=entries,
        unsent=len(set(sender.acknowledged) - set(entries)),
        jobs={(row.idempotency_key or "").removeprefix(f"{REQUESTS}:"): row for row in rows},
        rejected=server.entries(REJECTED),
        results=server.entries(RESULTS),
        pending=0 if server.is_settled() else max(1, server.pending()),
        consumers=len(server.client.xinfo_consumers(REQUESTS, "callscribe")),
    )


def _is_valid(fields: dict[str, str]) -> bool:
    asked: dict[str, Any] = json.loads(fields["request"]) if "request" in fields else fields
    return asked["url"].startswith("http") and not {"language", "surprise"} & set(asked)


def _is_settled(outcome: Outcome) -> bool:
    done = all(job.status in FINAL for job in outcome.jobs.values())
    return outcome.pending == 0 and done and len(_events(outcome)) >= len(outcome.jobs)


def _events(outcome: Outcome) -> dict[str, set[str]]:
    events: dict[str, set[str]] = defaultdict(set)
    for fields in outcome.results:
        events[json.loads(fields["body"])["data"]["id"]].add(fields["id"])
    return events


def _figures(outcome: Outcome) -> list[Figure]:
    valid = {entry for entry, is_valid in outcome.entries.items() if is_valid}
    refused = Counter(fields["entry"] for fields in outcome.rejected)
    reasons = Counter(fields["code"] for fields in outcome.rejected)
    ends = [job.error_code or job.status for job in outcome.jobs.values() if job.status != "completed"]
    crashed = [end for end in ends if end == WorkerCrashed.code]
    unfinished = [end for end in ends if end != WorkerCrashed.code]
    events, jobs = _events(outcome), {str(job.id) for job in outcome.jobs.values()}
    return [
        Figure.found("entries in the stream", len(outcome.entries)),
        Figure.none("entries that Redis acknowledged and then lost", outcome.unsent),
        Figure("entries that became jobs", len(outcome.jobs), f"{len(valid)}", set(outcome.jobs) == valid),
        Figure.none("jobs beside them", len(set(outcome.jobs) - valid)),
        Figure(
            "entries that were refused",
            len(refused),
            f"{len(outcome.entries) - len(valid)}",
            set(refused) == set(outcome.entries) - valid,
        ),
        Figure.none("entries that were refused twice", sum(count > 1 for count in refused.values())),
        Figure.none(
            "entries that were refused for a wrong reason",
            reasons.total() - reasons["invalid_request"] - reasons["url_not_allowed"],
            [f"{code}: {count}" for code, count in reasons.items()],
        ),
        Figure.none("entries that are not acknowledged", outcome.pending),
        Figure.none("jobs that were not completed", len(unfinished), unfinished),
        Figure.found("jobs that were given up because their worker was killed too often", len(crashed)),
        Figure.none("jobs without a result", len(jobs - set(events))),
        Figure.none("results of no job", len(set(events) - jobs)),
        Figure.none("jobs whose results have two event ids", sum(len(ids) > 1 for ids in events.values())),
        Figure.found("results that were added twice", len(outcome.results) - len(events)),
        Figure.found("names of consumers in the group", outcome.consumers),
    ]
