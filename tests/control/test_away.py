"""Models that no worker can use: clients see why their jobs wait, or are asked to come back."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

import openai
import pytest

from app.control import workers
from app.control.away import ModelsAway, known_troubles
from app.control.models import WorkerState
from app.database.connections import Database
from app.database.notifications import Signals
from testing.listening import Listening, listening
from testing.recordings import tone
from testing.rows import execute
from testing.waiting import soon, until

FAR = {"far": "far: it cannot be reached"}
TRANSCRIPTIONS = "/v1/audio/transcriptions"
AWAY = "The model far cannot be used at the moment. Repeat the request later."


@pytest.fixture
async def served(database: Database, tmp_path: Path) -> AsyncIterator[Listening]:
    async with listening(database, tmp_path, model="base,far=http://127.0.0.1:9/v1#m") as served:
        yield served


async def beats(
    database: Database,
    name: str,
    troubles: Mapping[str, str | None],
    models: Sequence[str] = ("base", "far"),
    state: WorkerState = WorkerState.WORKING,
) -> None:
    async with database.transaction() as session:
        await workers.begin(session, name, "1.0", models)
    async with database.transaction() as session:
        await workers.seen(session, name, state, troubles)


async def falls_silent(database: Database, name: str) -> None:
    await execute(database, "UPDATE worker SET seen_at = now() - interval '31 s' WHERE name = :name", name=name)


async def away(database: Database) -> Mapping[str, str]:
    known = ModelsAway(database, Signals(database))
    await known.refresh()
    return known.troubles


async def test_a_model_is_away_if_no_living_worker_can_use_it(database: Database) -> None:
    await beats(database, "one", {})
    assert await away(database) == {}
    await beats(database, "one", FAR)
    assert await away(database) == FAR
    await beats(database, "two", {}, models=["base"])
    assert await away(database) == FAR
    await beats(database, "three", {})
    assert await away(database) == {}
    await beats(database, "three", {}, state=WorkerState.DRAINING)
    assert await away(database) == FAR
    await beats(database, "three", FAR)
    assert await away(database) == FAR
    await beats(database, "three", {})
    await falls_silent(database, "three")
    assert await away(database) == FAR
    await falls_silent(database, "one")
    assert await away(database) == {}


async def test_a_worker_that_has_only_started_can_neither_use_a_model_nor_not(database: Database) -> None:
    await beats(database, "one", FAR)
    await beats(database, "two", {"far": None})
    assert await away(database) == FAR
    await falls_silent(database, "one")
    assert await away(database) == {}


def test_a_worker_that_does_not_work_knows_only_of_troubles() -> None:
    assert known_troubles(["far", "further"], FAR, works=True) == FAR
    assert known_troubles(["far", "further"], FAR, works=False) == {**FAR, "further": None}


async def test_a_job_that_waits_for_its_model_says_so(served: Listening, database: Database) -> None:
    files = {"file": ("call.wav", tone())}
    await beats(database, "one", FAR)
    await served.service.parts.away.refresh()
    posted = await served.client.post("/v1/transcriptions", files=files, data={"model": "far"})
    assert posted.status_code == 202
    other = await served.client.post("/v1/transcriptions", files=files, data={"model": "base"})
    own = posted.json()["links"]["self"]

    async def reasons() -> list[object]:
        listed = (await served.client.get("/v1/transcriptions")).json()["items"]
        return [(await served.client.get(own)).json()["retry"], *(each["retry"] for each in reversed(listed))]

    reason = posted.json()["retry"]
    assert (reason["code"], reason["message"]) == ("unavailable", "The service cannot use the model at the moment.")
    assert other.json()["retry"] is None
    assert await reasons() == [reason, reason, None]
    await beats(database, "one", {})
    await served.service.parts.away.refresh()
    assert await reasons() == [None, None, None]


async def test_the_reason_of_the_last_attempt_counts_first(served: Listening, database: Database) -> None:
    posted = await served.client.post("/v1/transcriptions", files={"file": ("call.wav", tone())}, data={"model": "far"})
    await execute(database, "UPDATE transcription SET retry_code = 'fetch_failed', retry_message = 'It is gone.'")
    await beats(database, "one", FAR)
    await served.service.parts.away.refresh()
    shown = (await served.client.get(posted.json()["links"]["self"])).json()
    assert (shown["retry"]["code"], shown["retry"]["message"]) == ("fetch_failed", "It is gone.")


async def test_a_client_of_openai_is_asked_to_come_back(served: Listening, database: Database) -> None:
    await beats(database, "one", FAR)
    await served.service.parts.away.refresh()
    async with (
        openai.DefaultAsyncHttpxClient(trust_env=False) as transport,
        openai.AsyncOpenAI(
            base_url=f"http://127.0.0.1:{served.port}/v1", api_key="any", max_retries=0, http_client=transport
        ) as library,
    ):
        with pytest.raises(openai.InternalServerError) as error:
            await library.audio.transcriptions.create(model="far", file=("call.wav", tone()))
    assert (error.value.status_code, error.value.response.headers["Retry-After"]) == (503, "30")
    assert "x-should-retry" not in error.value.response.headers
    assert error.value.body == {"message": AWAY, "type": "server_error", "param": None, "code": "unavailable"}
    assert served.stored_files() == []
    assert (await served.client.get("/v1/transcriptions")).json()["items"] == []


async def test_a_client_of_openai_that_repeats_its_request_waits_for_its_job(
    served: Listening, database: Database
) -> None:
    async def ask() -> int:
        files = {"file": ("call.wav", tone())}
        return (await served.client.post(TRANSCRIPTIONS, files=files, data={"model": "far"})).status_code

    async def jobs() -> list[dict[str, str]]:
        return list((await served.client.get("/v1/transcriptions")).json()["items"])

    async def waits() -> bool:
        return bool(await jobs())

    first = asyncio.create_task(ask())
    await until(waits)
    [job] = await jobs()
    await beats(database, "one", FAR)
    await served.service.parts.away.refresh()
    again = asyncio.create_task(ask())
    await soon(lambda: served.service.waiting._jobs.total() == 2)
    await served.client.post(f"/v1/transcriptions/{job['id']}/cancel")
    assert [await first, await again] == [409, 409]
