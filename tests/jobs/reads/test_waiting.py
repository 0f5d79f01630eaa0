"""Hundreds of clients that wait for jobs: how many queries they cost, and when they are answered."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import event

from app import service as parts
from app.access.callers import ANONYMOUS
from app.database.connections import Database
from app.database.notifications import Signals
from app.errors import NotFound
from app.jobs.reads import waiting
from app.jobs.reads.reading import Reader
from app.jobs.reads.waiting import Waiting, answer_at
from testing.listening import listening
from testing.rows import SUCCESS, claim, enqueue, execute, finish
from testing.waiting import soon

UNKNOWN_JOB = UUID("01989d2e-7c1b-7f9e-8a54-2f0f6f1f9c3e")


@pytest.fixture
def statements(database: Database) -> Iterator[list[str]]:
    """The statements that are sent to the database."""
    sent: list[str] = []

    def note(_1: object, _2: object, statement: str, *_: object) -> None:
        sent.append(statement)

    event.listen(database.engine.sync_engine, "before_cursor_execute", note)
    yield sent
    event.remove(database.engine.sync_engine, "before_cursor_execute", note)


async def test_hundreds_of_waiting_clients_cost_one_query_a_second_and_get_the_final_status(
    database: Database, tmp_path: Path, statements: list[str]
) -> None:
    jobs = [await enqueue(database) for _ in range(3)]
    async with listening(database, tmp_path) as service, asyncio.timeout(60):
        paths = [f"/v1/transcriptions/{job.id}?wait=60" for job in jobs] * 30
        asking = [asyncio.create_task(service.client.get(path)) for path in paths]
        await soon(lambda: sum(service.service.waiting._jobs.values()) == len(paths))
        await asyncio.sleep(1.0)  # the last ones look once more whether their jobs have ended
        statements.clear()
        await asyncio.sleep(3.0)
        assert len(statements) <= 4
        for _ in jobs:
            [claimed] = await claim(database)
            await finish(database, claimed, SUCCESS)
        answers = await asyncio.gather(*asking)
    assert {answer.json()["status"] for answer in answers} == {"completed"}


async def test_a_job_that_is_deleted_ends_the_wait(database: Database, tmp_path: Path) -> None:
    job = await enqueue(database)
    async with listening(database, tmp_path) as service, asyncio.timeout(30):
        asking = asyncio.create_task(service.client.get(f"/v1/transcriptions/{job.id}?wait=60"))
        await asyncio.sleep(0.5)
        await execute(database, "DELETE FROM transcription WHERE id = :id", id=job.id)
        assert (await asking).status_code == 404


async def test_a_client_over_the_limit_is_answered_without_waiting(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "Waiting", partial(Waiting, most=0))
    job = await enqueue(database)
    async with listening(database, tmp_path) as service, asyncio.timeout(30):
        answer = await service.client.get(f"/v1/transcriptions/{job.id}?wait=60")
    assert (answer.status_code, answer.json()["status"], answer.headers["Retry-After"]) == (200, "pending", "5")


async def test_one_key_cannot_take_all_places_to_wait(database: Database) -> None:
    places = Waiting(database, Signals(database), most=3, most_of_a_caller=2)
    with ExitStack() as stack:
        join = [stack.enter_context(places.join(UNKNOWN_JOB, caller)) for caller in ("a", "a", "a", "b", "b")]
    assert [event is not None for event in join] == [True, True, False, True, False]
    with places.join(UNKNOWN_JOB, "a") as again:
        assert again is not None


async def test_the_last_places_to_wait_are_for_keys_that_hold_few(database: Database) -> None:
    places = Waiting(database, Signals(database), most=120, most_of_a_caller=100)
    with ExitStack() as stack:
        for _ in range(90):
            stack.enter_context(places.join(UNKNOWN_JOB, "a"))
        assert [places.has_room(caller) for caller in ("a", "b")] == [False, True]
        for _ in range(20):
            stack.enter_context(places.join(UNKNOWN_JOB, "b"))
        assert [places.has_room(caller) for caller in ("a", "b", "c")] == [False, False, True]


async def test_reads_at_the_same_time_share_a_query(database: Database, statements: list[str]) -> None:
    jobs = [await enqueue(database) for _ in range(3)]
    reader = Reader(database)
    statements.clear()
    asked = [*(job.id for job in jobs), UNKNOWN_JOB] * 50
    found = await asyncio.gather(*(reader.read(job_id, ANONYMOUS) for job_id in asked), return_exceptions=True)
    assert len(statements) == 1
    assert sum(isinstance(each, NotFound) for each in found) == 50
    assert {each.job.id for each in found if not isinstance(each, BaseException)} == {job.id for job in jobs}


async def test_a_failed_query_fails_all_its_readers_and_the_next_query_works(database: Database) -> None:
    job = await enqueue(database)
    reader = Reader(database)
    await execute(database, "ALTER TABLE transcription RENAME TO mislaid")
    found = await asyncio.gather(*(reader.read(job.id, ANONYMOUS) for _ in range(3)), return_exceptions=True)
    await execute(database, "ALTER TABLE mislaid RENAME TO transcription")
    assert all(isinstance(each, Exception) for each in found)
    assert (await reader.read(job.id, ANONYMOUS)).job.id == job.id


@pytest.mark.parametrize(("wait", "answered"), [(0, 100), (30, 130), (54, 154), (60, 154)])
def test_a_request_is_answered_before_a_proxy_gives_up(wait: float, answered: float) -> None:
    assert answer_at(100.0, wait) == answered


async def test_the_longest_wait_counts_from_the_arrival_of_the_request(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second request arrives with the first and begins after it. Both are answered when their time is over."""
    monkeypatch.setattr(waiting, "LONGEST_WAIT_SECONDS", 3.0)
    job = await enqueue(database)
    request = f"GET /v1/transcriptions/{job.id}?wait=60 HTTP/1.1\r\nHost: localhost\r\n".encode()
    async with listening(database, tmp_path) as service, asyncio.timeout(30):
        reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
        started = asyncio.get_running_loop().time()
        writer.write(request + b"\r\n" + request + b"Connection: close\r\n\r\n")
        answers = await reader.read()
        seconds = asyncio.get_running_loop().time() - started
        writer.close()
    assert answers.count(b"HTTP/1.1 200 OK") == answers.count(b"retry-after: 2") == 2
    assert 2.9 < seconds < 5.9
