"""A worker claims only jobs of the models that it serves, and the operator learns of jobs that no worker can run."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from app import readiness, service
from app.database.connections import Database
from app.jobs.claims import queue
from app.jobs.claims.capacity import Capacity
from app.jobs.lifecycle import MAX_CRASHES, Status
from app.jobs.topics import changed_topic
from app.jobs.upkeep.unserved import UnservedModels
from app.jobs.worker.making_way import who_makes_way
from app.jobs.worker.running import Running
from app.readiness import Doubtful
from app.service import open_parts
from app.settings import Settings
from app.transcripts.transcript import Options
from testing import engine_double
from testing.recordings import tone
from testing.rows import SUCCESS, claim, enqueue, execute, finish, read

SMALL = Options(model="small")
BASE_ONLY, BOTH = Capacity(5, models=("base",)), Capacity(5, models=("base", "small"))
TWO_MINUTES_AGO = "UPDATE transcription SET run_at = run_at - interval '2 min'"


@pytest.mark.parametrize("columns", [{}, {"audio_key": None}], ids=["stored", "to fetch"])
@pytest.mark.parametrize("crashes", [0, MAX_CRASHES - 1])
async def test_a_worker_leaves_jobs_of_other_models_to_other_workers(
    database: Database, columns: dict[str, None], crashes: int
) -> None:
    other = await enqueue(database, options=SMALL, priority=0, crashes=crashes, **columns)
    own = await enqueue(database, priority=9, **columns)
    first = await claim(database, BASE_ONLY, fetches=BASE_ONLY)
    assert [job.id for job in first] == [own.id]
    second = await claim(database, BOTH, fetches=BOTH)
    assert [job.id for job in second] == [other.id]


async def test_many_jobs_of_another_model_do_not_hide_a_job_of_a_served_one(database: Database) -> None:
    for _ in range(80):
        await enqueue(database, options=SMALL)
    own = await enqueue(database)
    assert [job.id for job in await claim(database, BASE_ONLY)] == [own.id]


async def test_no_job_makes_way_for_a_job_that_this_worker_cannot_run(database: Database) -> None:
    await enqueue(database, priority=9)
    [job] = await claim(database, 1)
    await enqueue(database, priority=0, caller="late", options=SMALL)
    running = [Running(job, 0.0, shows_fitness=False)]
    async with database.transaction() as session:
        for models, leaving in (("base",), 0), (("base", "small"), 1):
            full = Capacity(0, crowded=True, models=models)
            assert len(await who_makes_way(session, running, full, Capacity(1), 0.0)) == leaving


async def test_a_rolling_change_of_the_model_loses_nothing(database: Database) -> None:
    before, after = await enqueue(database), await enqueue(database, options=SMALL)
    for models, expected in (("small",), after), (("base",), before):
        [job] = await claim(database, Capacity(5, models=models))
        assert job.id == expected.id
        assert await finish(database, job, SUCCESS) is Status.COMPLETED


async def test_the_operator_learns_which_model_no_worker_serves(database: Database) -> None:
    unserved = UnservedModels(database, ["base"])
    await enqueue(database, options=SMALL)
    await enqueue(database)
    with capture_logs() as early:
        await unserved.look()
    assert early == []  # it waits for less than a minute
    await execute(database, TWO_MINUTES_AGO)
    with capture_logs() as logs:
        await unserved.look()
        await unserved.look()
    assert [(line["log_level"], line["models"]) for line in logs] == [("warning", ["small"])]
    with pytest.raises(Doubtful, match="no worker seems to serve: small"):
        await readiness.models_served(database, ["base"])
    await readiness.models_served(database, ["small", "base"])


async def test_a_model_of_a_running_job_is_served_by_some_worker(database: Database) -> None:
    for _ in range(2):
        await enqueue(database, options=SMALL)
    await claim(database, 1)
    await execute(database, TWO_MINUTES_AGO)
    async with database.transaction() as session:
        assert await queue.unserved_models(session, ["base"]) == []


async def test_a_process_of_the_service_leaves_a_job_of_a_model_that_it_does_not_serve(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def stream() -> AsyncIterator[bytes]:
        yield tone()

    monkeypatch.setattr(service, "Engine", engine_double.EngineDouble)
    settings = Settings(data_dir=tmp_path, database_url=database.address.text, model=("base",))
    async with open_parts(settings, executor=True) as parts:
        audio = await parts.store.save("call", stream(), 1_000_000)
        other = await enqueue(database, audio_key=audio.key, options=SMALL)
        own = await enqueue(database, audio_key=audio.key, priority=9)
        with parts.signals.subscribe(changed_topic(own.id)) as changed:
            async with asyncio.timeout(30):
                while (await read(database, own.id)).status != Status.COMPLETED:
                    with suppress(TimeoutError):  # the first notification may come before the process listens
                        await asyncio.wait_for(changed.wait(), 0.1)
    left = await read(database, other.id)
    assert (left.status, left.attempts, left.error_code) == (Status.PENDING, 0, None)
