"""Clients that post jobs. They repeat each request with its idempotency key until they get an answer."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from random import Random
from uuid import UUID

import httpx

from proofs.chaos.events import Events
from testing.recordings import tone

KEYS = {"greedy": "greedy-secret", "modest": "modest-secret"}
RETRY_SECONDS = 0.25
ANSWER_SECONDS = 10.0


class Refused(Exception):
    """Says that the service refused a request that it should accept, and would refuse it again."""


class Load:
    """Posts jobs at random moments, and keeps the order of each accepted job."""

    def __init__(self, urls: Callable[[], Sequence[str]], random: Random, events: Events) -> None:
        self._urls = urls
        self._random = random
        self._events = events
        self._client = httpx.AsyncClient(timeout=ANSWER_SECONDS, trust_env=False)
        self._count = 0
        self.accepted: dict[UUID, str] = {}
        self.answered_at: dict[UUID, datetime] = {}

    async def offer(self, orders: Iterable[str], rate: float, recordings: Sequence[bytes] = ()) -> None:
        """Posts one job for each order, `rate` per second on average, and waits until all are accepted."""
        async with asyncio.TaskGroup() as group:
            for order in orders:
                recording = self._random.choice(recordings) if recordings else tone()
                group.create_task(self.post(order, recording))
                await asyncio.sleep(self._random.expovariate(rate))

    async def post(self, order: str, recording: bytes | None = None) -> UUID:
        self._count += 1
        key = self._random.choice(sorted(KEYS))
        headers = {"Authorization": f"Bearer {KEYS[key]}", "Idempotency-Key": str(self._count)}
        fields = {"prompt": order, "priority": str(self._random.randrange(3, 6)), **self._events.fields}
        files = {"file": ("call.wav", recording or tone())}
        while True:
            url = self._random.choice(self._urls())
            try:
                response = await self._client.post(
                    f"{url}/v1/transcriptions", headers=headers, data=fields, files=files
                )
            except httpx.TransportError:
                response = None
            if response is not None and response.status_code in (200, 202):
                job = UUID(response.json()["id"])
                self.accepted[job], self.answered_at[job] = order, datetime.now(UTC)
                return job
            if response is not None and response.status_code < 500 and response.status_code != 429:
                raise Refused(response.text)
            await asyncio.sleep(RETRY_SECONDS)

    async def cancel(self, job: UUID) -> None:
        headers = {"Authorization": f"Bearer {KEYS['greedy']}"}
        while True:
            try:
                path = f"{self._random.choice(self._urls())}/v1/transcriptions/{job}/cancel"
                if (await self._client.post(path, headers=headers)).status_code in (200, 409):
                    return
            except httpx.TransportError:
                pass
            await asyncio.sleep(RETRY_SECONDS)

    async def close(self) -> None:
        await self._client.aclose()
