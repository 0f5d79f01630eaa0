"""Clients that give up, through the front door: they time out, repeat their request, hang up, and ask twice."""

import asyncio
from collections.abc import AsyncIterator
from typing import TypeAlias

import asyncpg
import httpx
import openai
import pytest

from testing.door import MODEL, ask, connected
from testing.recordings import call, tone
from testing.service import WAIT_LIMIT_SECONDS, Service
from testing.waiting import soon, until
from tests.conftest import ALICE, BOB

RETRIES = 2
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


@pytest.fixture
async def connection(guarded_database: str) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(guarded_database)
    yield connection
    await connection.close()


@pytest.fixture
async def client(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=service.url, timeout=WAIT_LIMIT_SECONDS, trust_env=False) as client:
        yield client


def test_a_client_library_that_times_out_and_repeats_twice_makes_one_job(guarded: Service) -> None:
    sent = list[object]()
    with (
        openai.DefaultHttpxClient(event_hooks={"request": [sent.append]}, trust_env=False) as transport,
        openai.OpenAI(
            base_url=f"{guarded.url}/v1", api_key=ALICE, timeout=0.5, max_retries=RETRIES, http_client=transport
        ) as library,
    ):
        calls = 0
        while not (jobs := guarded.read("/v1/transcriptions")["items"]):  # a slow machine may need a second call
            calls += 1
            with pytest.raises(openai.APITimeoutError):
                library.audio.transcriptions.create(model=MODEL, file=("call.wav", tone(0.21)))
    assert len(sent) == calls * (RETRIES + 1)
    [job] = jobs
    assert (job["status"], job["attempts"], job["options"]["model"]) == ("pending", 0, "base")


async def test_the_same_request_of_another_key_is_another_job(guarded: Service, connection: Connection) -> None:
    async with (
        connected(guarded.port, tone(0.22), ALICE),
        connected(guarded.port, tone(0.22), ALICE),
        connected(guarded.port, tone(0.22), BOB),
    ):
        await until(lambda: _callers_are(connection, ["alice", "bob"]))


async def _callers_are(connection: Connection, expected: list[str]) -> bool:
    rows = await connection.fetch("SELECT caller FROM transcription ORDER BY caller")
    return [row["caller"] for row in rows] == expected


async def test_two_equal_requests_at_the_same_moment_get_the_text_of_one_job(
    service: Service, client: httpx.AsyncClient
) -> None:
    recording = call(0.1, 3.1)
    first, second = await asyncio.gather(ask(client, recording), ask(client, recording))
    later = await ask(client, recording, name="another-name.wav", response_format="text")
    job = service.read(f"/v1/transcriptions/{first.id}")
    ordinary = service.ended(service.create(recording))

    assert first.id == second.id == later.id
    assert (job["status"], job["attempts"]) == ("completed", 1)
    text = service.read(ordinary["links"]["transcript"])["text"]
    assert "calling" in text
    assert (first.text, second.text, later.content.decode()) == (text, text, f"{text}\n")


@pytest.mark.slow
async def test_a_job_whose_only_client_hung_up_is_cancelled(guarded: Service, connection: Connection) -> None:
    async with connected(guarded.port, tone(0.23), ALICE):
        await until(lambda: _callers_are(connection, ["alice"]))
    # Does what 20 s without a client do, again and again, because the process may still extend the time once.
    expire = "UPDATE awaited_job SET awaited_until = now() - interval '1 s'"
    await until(lambda: _is_cancelled(guarded, connection, expire))
    await soon(lambda: guarded.stored_files() == [])


async def _is_cancelled(guarded: Service, connection: Connection, expire: str) -> bool:
    await connection.execute(expire)
    [job] = guarded.read("/v1/transcriptions")["items"]
    return bool(job["status"] == "cancelled")
