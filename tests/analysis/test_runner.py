"""Analyses on the real database, from the end of a job to the event, by a chat server that answers as scripted."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy import event, text
from sqlmodel import col, delete

from app import metrics
from app.analysis import queue
from app.analysis.missing import MissingAnalyses
from app.analysis.numbers import analysis_numbers
from app.analysis.queue import NOTHING_FREE, Ended, Free, Notifying
from app.analysis.wanted import Wanted
from app.control import pauses
from app.control.pausable import Pausable
from app.database.connections import Database
from app.deliveries import outbox
from app.errors import WorkerCrashed
from app.jobs.lifecycle import Failed
from app.jobs.models import Transcription
from testing.chat_server import ChatServer, Says, judgement
from testing.ports import free_ports
from testing.rows import KEEP_AUDIO, claim, enqueue, execute, finish
from testing.waiting import soon, until
from tests.analysis.conftest import JUDGED, analysing, analysis, completed, ending, reached

FREE = (Free(5, 5), Free(5, 5))


async def types(database: Database, job_id: UUID) -> list[str]:
    async with database.transaction() as session:
        return [event.type for event, _ in await outbox.find(session, job_id)]


async def notify_status(database: Database, job_id: UUID) -> str:
    async with database.transaction() as session:
        statement = text("SELECT notify_status FROM polled_job WHERE transcription_id = :id").bindparams(id=job_id)
        return str((await session.exec(statement)).scalar_one())  # type: ignore[call-overload]


def not_queued() -> float:
    body, _ = metrics.exposition(metrics.Reading(), "")
    return float(body.decode().partition("\ncallscribe_analysis_not_queued_total ")[2].split()[0])


async def make_due(database: Database) -> None:
    await execute(database, "UPDATE analysis SET run_at = now() WHERE status = 'pending'")


async def test_a_completed_job_is_analysed_and_its_webhooks_are_notified(database: Database, chat: ChatServer) -> None:
    async with analysing(database, chat.url):
        job_id = await completed(
            database, webhook_urls=["https://crm.example/hook"], callback_urls=["https://old.example/"]
        )
        row = await reached(database, job_id, "completed")
    assert row.judgement is not None
    assert row.judgement["summary"] == {"text": "An order is late.", "turns": [1]}
    assert (row.tokens, row.attempts, row.error_code, row.dropped) == (100, 1, None, 0)
    async with database.transaction() as session:
        found = await outbox.find(session, job_id)
    assert [(event.type, delivery.style) for event, delivery in found] == [
        ("transcription.completed", "webhook"),
        ("transcription.completed", "callback"),
        ("analysis.completed", "webhook"),
    ]
    body = json.loads(found[-1][0].body)
    assert body["data"]["id"] == str(job_id)
    assert datetime.fromisoformat(body["timestamp"]) == row.completed_at
    assert "An order is late" not in found[-1][0].body.decode()


async def test_deliveries_of_an_analysis_do_not_change_the_notify_status(database: Database, chat: ChatServer) -> None:
    async with analysing(database, chat.url):
        job_id = await completed(database, webhook_urls=["https://crm.example/hook"])
        await execute(
            database,
            "UPDATE delivery SET status = 'delivered', attempts = 1, finished_at = now() WHERE status = 'pending'",
        )
        await until_types(database, job_id, 2)
    await execute(database, "UPDATE delivery SET attempts = 1 WHERE status = 'pending'")
    assert await notify_status(database, job_id) == "notified"
    async with database.transaction() as session:
        states = await outbox.notify_states(session, [job_id])
    assert states[job_id].status == "notified"


async def until_types(database: Database, job_id: UUID, count: int) -> None:
    async def enough() -> bool:
        return len(await types(database, job_id)) == count

    await until(enough)


async def test_only_wanted_and_completed_jobs_have_an_analysis(database: Database) -> None:
    assert await analysis(database, await completed(database, at_end=KEEP_AUDIO)) is None
    await enqueue(database)
    [claimed] = await claim(database)
    await finish(database, claimed, Failed("bad_media", "It is broken."), JUDGED)
    assert await analysis(database, claimed.id) is None


BROKEN = """
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'broken'; END $$;
    CREATE TRIGGER broken BEFORE INSERT ON analysis FOR EACH ROW EXECUTE FUNCTION refuse();
"""


async def test_an_analysis_that_cannot_be_queued_keeps_no_job_from_ending_and_is_queued_later(
    database: Database, chat: ChatServer
) -> None:
    for statement in BROKEN.strip().split(";\n"):
        await execute(database, statement)
    before = not_queued()
    job_id = await completed(database, webhook_urls=["https://crm.example/hook"])
    assert not_queued() == before + 1
    assert await types(database, job_id) == ["transcription.completed"]
    assert await analysis(database, job_id) is None
    await execute(database, "DROP TRIGGER broken ON analysis")
    async with analysing(database, chat.url):
        await MissingAnalyses(database, Wanted(judges=True)).look()
        await reached(database, job_id, "completed")


@pytest.mark.parametrize(
    ("wanted", "calls"),
    [
        (Wanted(judges=True), {"default", "bank"}),
        (Wanted(judges=True, judged_tenants=["bank"]), {"bank"}),
        (Wanted(), set()),
    ],
)
async def test_only_calls_that_ended_lately_and_have_no_analysis_are_queued_later(
    database: Database, wanted: Wanted, calls: set[str]
) -> None:
    old = await completed(database, at_end=KEEP_AUDIO)
    await execute(database, "UPDATE transcription SET completed_at = now() - interval '2 hours' WHERE id = :id", id=old)
    by_tenant = {await completed(database, tenant=name, at_end=KEEP_AUDIO): name for name in ("default", "bank")}
    await completed(database)  # it has an analysis
    await enqueue(database)
    async with database.transaction() as session:
        assert await queue.add_missing(session, wanted) == len(calls)
    assert {by_tenant[job_id] for job_id in by_tenant if await analysis(database, job_id)} == calls
    async with database.transaction() as session:
        assert await queue.add_missing(session, wanted) == 0


async def test_rules_that_are_missing_are_queued_later(database: Database) -> None:
    job_id = await completed(database, at_end=KEEP_AUDIO)
    await execute(database, "INSERT INTO category VALUES ('default', 'refund', '{}', now())")
    async with database.transaction() as session:
        assert await queue.add_missing(session, Wanted()) == 1
    row = await analysis(database, job_id)
    assert row is not None
    assert (row.wants_judgement, row.waits_for_model) == (False, False)


async def test_the_end_of_a_job_asks_the_database_nothing_if_it_is_known_that_nothing_is_wanted(
    database: Database,
) -> None:
    asked: list[str] = []
    wanted = Wanted()
    event.listen(database.engine.sync_engine, "before_cursor_execute", lambda *args: asked.append(args[2]))
    await completed(database, at_end=ending(wanted))
    asked.clear()
    await completed(database, at_end=ending(wanted))
    with_nothing = len(asked)
    asked.clear()
    await completed(database, at_end=KEEP_AUDIO)
    assert with_nothing == len(asked)


async def test_a_model_that_is_away_delays_no_transcription_and_is_asked_again(database: Database) -> None:
    [port] = free_ports(1)
    async with analysing(database, f"http://127.0.0.1:{port}/v1"):
        job_id = await completed(database, webhook_urls=["https://crm.example/hook"])
        assert await types(database, job_id) == ["transcription.completed"]

        async def tried() -> bool:
            row = await analysis(database, job_id)
            return row is not None and row.error_code == "judgement_unavailable"

        await until(tried)
        row = await analysis(database, job_id)
        later = await completed(database)
    assert row is not None
    assert (row.status, row.attempts) == ("pending", 1)
    assert row.run_at > datetime.now(UTC)
    waiting = await analysis(database, later)
    assert waiting is not None
    assert (waiting.status, waiting.attempts) == ("pending", 0)  # the runner claims no judgements meanwhile


async def test_an_analysis_fails_for_good_after_its_last_attempt(database: Database, chat: ChatServer) -> None:
    chat.says(Says("I cannot."))
    async with analysing(database, chat.url):
        job_id = await completed(database, webhook_urls=["https://crm.example/hook"])
        row = await reached(database, job_id, "failed")
    assert (row.error_code, row.judgement) == ("judgement_unfit", None)
    assert row.tokens == 400
    assert await types(database, job_id) == ["transcription.completed", "analysis.failed"]


async def test_an_error_that_is_not_transient_fails_at_once(database: Database) -> None:
    job_id = await completed(database)
    ended = Ended(error=WorkerCrashed())
    async with database.transaction() as session:
        [leased] = await queue.claim(session, *FREE)
        await queue.record(session, leased, ended, Notifying())
    row = await analysis(database, job_id)
    assert row is not None
    assert (row.status, row.error_code) == ("failed", "worker_crashed")


async def test_a_call_that_is_erased_meanwhile_stops_its_request(database: Database, chat: ChatServer) -> None:
    chat.says(Says(seconds=60))
    async with analysing(database, chat.url, timeout_seconds=60) as runner:
        job_id = await completed(database)
        await soon(lambda: len(chat.asked) == 1)
        async with database.transaction() as session:
            await session.exec(delete(Transcription).where(col(Transcription.id) == job_id))
        await runner.drain(10)
        await asyncio.wait_for(runner.idle(), 10)
    assert await analysis(database, job_id) is None


async def test_what_runs_when_the_process_ends_is_given_back_uncounted(database: Database, chat: ChatServer) -> None:
    chat.says(Says(seconds=60))
    async with analysing(database, chat.url, timeout_seconds=60) as runner:
        job_id = await completed(database)
        await soon(lambda: len(chat.asked) == 1)
        await runner.drain(0.1)
        await asyncio.wait_for(runner.idle(), 10)
    row = await analysis(database, job_id)
    assert row is not None
    assert (row.status, row.attempts, row.lease_token) == ("pending", 0, None)


async def test_leases_are_extended_and_a_lost_one_is_fenced_and_taken_back(database: Database) -> None:
    await completed(database)
    async with database.transaction() as session:
        [lost] = await queue.claim(session, *FREE)
    async with database.transaction() as session:
        assert await queue.claim(session, *FREE) == []
        assert await queue.extend(session, [lost]) == {lost.token}
    await execute(database, "UPDATE analysis SET lease_until = now() - interval '1 s'")
    async with database.transaction() as session:
        [again] = await queue.claim(session, *FREE)
    assert (again.attempts, again.transcription_id) == (2, lost.transcription_id)
    async with database.transaction() as session:
        assert await queue.record(session, lost, Ended(), Notifying()) is None
        assert await queue.extend(session, [lost]) == set()
        await queue.give_back(session, lost)
        assert await queue.record(session, again, Ended(), Notifying()) is not None


async def test_an_analysis_that_kills_its_processes_fails(database: Database, chat: ChatServer) -> None:
    job_id = await completed(database)
    await execute(database, "UPDATE analysis SET attempts = 8")
    async with analysing(database, chat.url):
        row = await reached(database, job_id, "failed")
    assert (row.error_code, chat.asked) == ("worker_crashed", [])


async def test_paused_claims_pause_analyses_too(database: Database) -> None:
    await completed(database)
    async with database.transaction() as session:
        await pauses.pause(session, Pausable.CLAIMS, reason="a new model", by="eva", lasts=None)
        assert await queue.claim(session, *FREE) == []
        await pauses.resume(session, Pausable.CLAIMS)
        assert len(await queue.claim(session, *FREE)) == 1


async def test_operators_see_how_many_analyses_wait_and_for_how_long(database: Database) -> None:
    due, later, in_bulk = [await completed(database) for _ in range(3)]
    change = "UPDATE analysis SET run_at = now() + :wait, is_bulk = :is_bulk WHERE transcription_id = :id"
    for job_id, hours, is_bulk in ((due, -1, False), (later, 1, False), (in_bulk, -2, True)):
        await execute(database, change, id=job_id, wait=timedelta(hours=hours), is_bulk=is_bulk)
    async with database.transaction() as session:
        found = await analysis_numbers(session)
    assert found.by_status == {"pending": 3, "in_progress": 0}
    assert 3600 <= found.oldest_seconds < 3700


async def test_tenants_take_turns(database: Database) -> None:
    many = [await completed(database, tenant="acme") for _ in range(4)]
    few = [await completed(database, tenant="zeta")]
    async with database.transaction() as session:
        first = await queue.claim(session, NOTHING_FREE, Free(2, 2))
        second = await queue.claim(session, NOTHING_FREE, Free(2, 2))
    assert {each.transcription_id for each in first} == {many[0], few[0]}
    assert {each.transcription_id for each in second} == set(many[1:3])


async def test_a_spent_budget_waits_for_the_next_day_uncounted(database: Database, chat: ChatServer) -> None:
    async with analysing(database, chat.url, tokens_per_day=100):
        first = await completed(database)
        await reached(database, first, "completed")
        second = await completed(database)

        async def waits() -> bool:
            row = await analysis(database, second)
            return row is not None and row.run_at.date() > datetime.now(UTC).date()

        await until(waits)
    row = await analysis(database, second)
    assert row is not None
    assert (row.status, row.attempts, len(chat.asked)) == ("pending", 0, 1)


async def test_a_process_without_a_model_leaves_judgements_to_others(database: Database) -> None:
    job_id = await completed(database)
    async with database.transaction() as session:
        assert await queue.claim(session, Free(5, 5), NOTHING_FREE) == []
        assert len(await queue.claim(session, *FREE)) == 1
    assert await analysis(database, job_id) is not None


async def test_what_the_database_refuses_is_not_stored(database: Database, chat: ChatServer) -> None:
    text = "a\0b \\ud800 \ufffe"
    chat.says(Says(json.dumps(judgement([1], summary={"text": text, "turns": [1]}, keywords=["\0"]))))
    async with analysing(database, chat.url):
        job_id = await completed(database)
        row = await reached(database, job_id, "completed")
    assert row.judgement is not None
    assert row.judgement["summary"]["text"].startswith("ab")


async def test_two_runners_share_the_work_and_do_each_analysis_once(database: Database, chat: ChatServer) -> None:
    jobs = [await completed(database) for _ in range(12)]
    async with analysing(database, chat.url, slots=2), analysing(database, chat.url, slots=2):
        rows = [await reached(database, job_id, "completed") for job_id in jobs]
    assert len(chat.asked) == 12
    assert {row.attempts for row in rows} == {1}
