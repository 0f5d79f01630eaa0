"""A pause of claims or of the intake holds everywhere, loses nothing, and ends."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from app.access.callers import Caller
from app.control import pauses
from app.control.pausable import Pausable
from app.control.switches import Switches
from app.database.connections import Database
from app.database.notifications import Signals
from app.errors import IntakePaused
from app.intake.ask import Ask, Stored
from app.jobs.claims import queue
from app.jobs.claims.capacity import Capacity
from testing.forms import refused
from testing.listening import Listening, listening
from testing.recordings import tone
from testing.rows import claim, enqueue, execute
from testing.waiting import soon

BOTH = [Pausable.CLAIMS, Pausable.INTAKE]


@pytest.fixture
async def served(database: Database, tmp_path: Path) -> AsyncIterator[Listening]:
    async with listening(database, tmp_path) as served:
        yield served


async def pause(database: Database, what: Pausable, lasts: timedelta | None = None) -> None:
    async with database.transaction() as session:
        await pauses.pause(session, what, reason="a new disk", by="eva", lasts=lasts)


async def resume(database: Database, what: Pausable) -> bool:
    async with database.transaction() as session:
        return await pauses.resume(session, what)


async def paused(served: Listening, database: Database) -> None:
    """The intake is paused, and this service knows it, as it would a moment later."""
    await pause(database, Pausable.INTAKE)
    await served.service.parts.switches.refresh()


async def test_paused_claims_find_no_job_of_any_kind(database: Database) -> None:
    await enqueue(database)
    await enqueue(database, audio_key=None, source="https://a.example/call.wav", source_host="a.example:443")
    last_chance = await enqueue(database)
    await execute(database, "UPDATE transcription SET crashes = 2 WHERE id = :id", id=last_chance.id)
    await pause(database, Pausable.CLAIMS)
    assert await claim(database, 10, fetches=10) == []
    assert await resume(database, Pausable.CLAIMS)
    assert len(await claim(database, 10, fetches=10)) == 3


async def test_no_running_job_makes_way_while_claims_are_paused(database: Database) -> None:
    await enqueue(database, priority=9)
    [running] = await claim(database)
    await enqueue(database, caller="another", priority=0)

    async def waits() -> bool:
        async with database.transaction() as session:
            return await queue.more_urgent_waits(session, running, Capacity(0, crowded=True), to_fetch=False)

    assert await waits()
    await pause(database, Pausable.CLAIMS)
    assert not await waits()


@pytest.mark.parametrize("what", BOTH)
async def test_a_pause_ends_by_itself(database: Database, what: Pausable) -> None:
    await enqueue(database)
    switches = Switches(database, Signals(database))
    await pause(database, what, timedelta(minutes=30))
    await switches.refresh()
    assert switches.pause_of(what) is not None
    if what == Pausable.INTAKE:
        with pytest.raises(IntakePaused) as error:
            switches.require_intake()
        assert 1790 < (error.value.retry_after or 0) <= 1800
    else:
        assert await claim(database) == []
    await execute(database, "UPDATE pause SET ends_at = now() - interval '1 s'")
    await switches.refresh()
    assert switches.pause_of(what) is None
    switches.require_intake()
    assert len(await claim(database)) == 1
    assert not await resume(database, what)


async def test_every_process_learns_of_a_pause_by_its_notification(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.control.switches.REFRESH_SECONDS", 3600.0)
    signals = Signals(database)
    switches = Switches(database, signals)
    tasks = [asyncio.create_task(each) for each in (signals.run(), switches.run())]
    try:
        await soon(lambda: bool(signals._events.get(pauses.CONTROL_TOPIC)))
        await pause(database, Pausable.INTAKE)
        await soon(lambda: switches.pause_of(Pausable.INTAKE) is not None)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_paused_intake_refuses_new_work_and_answers_what_it_has_accepted(
    served: Listening, database: Database
) -> None:
    files, key = {"file": ("call.wav", tone())}, {"Idempotency-Key": "once"}
    first = await served.client.post("/v1/transcriptions", files=files, headers=key)
    by_url = {"url": "https://recordings.example.com/call.wav"}
    second = await served.client.post("/v1/transcriptions", json=by_url, headers={"Idempotency-Key": "url"})
    failed = await enqueue(database)
    await execute(
        database, "UPDATE transcription SET status = 'failed', completed_at = now() WHERE id = :id", id=failed.id
    )
    await paused(served, database)
    for answer in (
        await served.client.post("/v1/transcriptions", files=files),
        await served.client.post("/v1/transcriptions", json=by_url),
        await served.client.post("/v1/transcriptions/from-url", json=by_url),
        await served.client.post("/v1/batches", json={"source": {"urls": [by_url["url"]]}}),
        await served.client.post(f"/v1/transcriptions/{failed.id}/retry"),
    ):
        refused(answer, 503, "intake_paused")
        assert answer.headers["Retry-After"] == "60"
    again = await served.client.post("/v1/transcriptions", files=files, headers=key)
    assert (again.status_code, again.json()["id"]) == (200, first.json()["id"])
    again = await served.client.post("/v1/transcriptions", json=by_url, headers={"Idempotency-Key": "url"})
    assert (again.status_code, again.json()["id"]) == (200, second.json()["id"])
    of_openai = await served.client.post("/v1/audio/transcriptions", files=files, data={"model": "whisper-1"})
    assert (of_openai.status_code, of_openai.json()["error"]["code"]) == (503, "intake_paused")
    assert (await served.client.get(first.json()["links"]["self"])).status_code == 200
    assert len(served.stored_files()) == 1


async def test_an_upload_that_began_before_the_pause_is_accepted(served: Listening, database: Database) -> None:
    caller, intake = Caller("anonymous"), served.service.intake

    async def stream() -> AsyncIterator[bytes]:
        yield tone()

    async with intake.receiving(caller) as save:
        await paused(served, database)
        audio = await save(stream())
    accepted = await intake.accept(Stored(audio, "call.wav"), Ask(), caller)
    assert accepted.is_new


async def test_a_batch_waits_while_the_intake_is_paused(served: Listening, database: Database) -> None:
    urls = [f"https://recordings.example.com/{number}.wav" for number in range(3)]
    batch = (await served.client.post("/v1/batches", json={"source": {"urls": urls}})).json()
    await paused(served, database)
    await served.service.feeder.look_after_all()
    assert (await served.client.get(batch["links"]["self"])).json()["counts"]["waiting"] == 3
    await resume(database, Pausable.INTAKE)
    await served.service.parts.switches.refresh()
    await execute(database, "UPDATE recording_batch SET look_at = now()")
    await served.service.feeder.look_after_all()
    assert len(await claim(database, 0, fetches=10)) == 3


async def test_readiness_warns_of_a_pause_and_says_who_and_why(served: Listening, database: Database) -> None:
    await pause(database, Pausable.CLAIMS)
    await enqueue(database)
    await execute(database, "UPDATE transcription SET run_at = now() - interval '1 h'")
    await paused(served, database)
    found = await served.service.readiness._look()
    warned = {finding.part: finding.shown(details=True) for finding in found.warnings}
    assert set(warned) == {"claims", "intake"}
    assert warned["claims"].startswith("claims: paused by eva since 20")
    assert warned["claims"].endswith("UTC: a new disk")
    assert [finding.shown(details=False) for finding in found.warnings] == ["claims: paused", "intake: paused"]
