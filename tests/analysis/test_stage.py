"""Rules and the language model together: what is stored when, and who answers which question."""

import json
import time
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from sqlmodel import SQLModel

from app.access.callers import Caller
from app.analysis import queue
from app.analysis.definition_models import CategoryRow, ScorecardRow
from app.analysis.models import Analysis
from app.analysis.queue import Notifying
from app.analysis.runner import AnalysisRunner
from app.analysis.stage import Stage
from app.analysis.views import AnalysisOut
from app.analysis.wanted import Wanted
from app.database.connections import Database
from app.database.notifications import Signals
from app.deliveries import outbox
from app.jobs.claims.ending import AtEnd
from testing.chat_server import Asked, ChatServer, Says, judged
from testing.rows import execute
from testing.waiting import until
from tests.analysis.conftest import JUDGED, analysing, analysis, completed, ending, reached, running

LATE = {"role": "customer", "any_of": ["not arrived"], "metadata": {"queue": "orders"}}
CARD = {
    "questions": [
        {"question": "Does an order miss?", "by": "category", "category": "late", "expected": False},
        {"question": "Is it solved?", "by": "model", "weight": 3},
        {"question": "Is somebody rude?", "by": "model", "weight": 2, "expected": False},
        {"question": "Is it raining?", "by": "model"},
    ]
}
ANSWERS = [
    {"question": "q1", "value": True, "turns": [3]},
    {"question": "q2", "value": "No.", "turns": [1, 2]},
    {"question": "q3", "value": None, "turns": []},
]


@pytest.fixture(autouse=True)
async def defined(database: Database) -> None:
    await define(database, CategoryRow, "late", LATE)
    await define(database, ScorecardRow, "quality", CARD)


async def define(database: Database, table: type[SQLModel], name: str, definition: Any) -> None:
    async with database.transaction() as session:
        session.add(table(tenant="default", name=name, definition=definition, updated_at=datetime.now(UTC)))


async def a_call(database: Database, at_end: AtEnd = JUDGED, **columns: Any) -> UUID:
    return await completed(database, at_end=at_end, metadata_={"queue": "orders"}, **columns)


def answered(row: Analysis) -> list[tuple[bool | float | None, float | None, list[int]]]:
    """The answers of the only scorecard, with points and turns."""
    shown = AnalysisOut.of(row)
    assert shown.scores is not None
    [score] = shown.scores
    return [(one.value, one.points, [each.turn for each in one.evidence]) for one in score.answers]


async def with_rules(database: Database, job_id: UUID) -> Analysis:
    """Waits until the rules have been applied."""

    async def has() -> bool:
        row = await analysis(database, job_id)
        return row is not None and row.categories is not None

    await until(has)
    row = await analysis(database, job_id)
    assert row is not None
    return row


async def test_rules_alone_complete_an_analysis_and_webhooks_are_notified(database: Database) -> None:
    runner = AnalysisRunner(database, Signals(database), Stage(database), Notifying())
    async with running(runner):
        job_id = await a_call(database, ending(Wanted()), webhook_urls=["https://crm.example/hook"])
        row = await reached(database, job_id, "completed")
    assert row.categories == [
        {
            "name": "late",
            "sure": True,
            "matches": [
                {
                    "condition": "any_of",
                    "turn": 2,
                    "start": 2.0,
                    "end": 3.5,
                    "text": "not arrived",
                    "score": 1.0,
                    "value": None,
                }
            ],
        }
    ]
    assert answered(row) == [(True, 0, [2]), (None, None, []), (None, None, []), (None, None, [])]
    assert (row.attempts, row.judgement, row.model) == (1, None, None)
    async with database.transaction() as session:
        events = [event.type for event, _ in await outbox.find(session, job_id)]
    assert events == ["transcription.completed", "analysis.completed"]


async def test_the_model_answers_the_questions_that_are_left_and_they_get_points(
    database: Database, chat: ChatServer
) -> None:
    chat.script = lambda asked: judged(asked, answers=ANSWERS)
    async with analysing(database, chat.url):
        row = await reached(database, await a_call(database), "completed")
    assert "\nq1: Is it solved?\nq2: Is somebody rude?\nq3: Is it raining?\n" in chat.asked[0].prompt
    assert answered(row) == [(True, 0, [2]), (True, 3, [3]), (False, 2, [1, 2]), (None, None, [])]
    assert row.scores is not None
    assert (row.scores[0]["points"], row.scores[0]["possible"]) == (5, 6)
    assert row.judgement is not None
    assert [each["question"] for each in row.judgement["answers"]] == ["Is it solved?", "Is somebody rude?"]


async def test_what_rules_found_is_shown_while_the_model_works_and_after_it_failed(
    database: Database, chat: ChatServer
) -> None:
    def script(asked: Asked) -> Says:
        chat.let_go.wait(10)
        return Says("I cannot.")

    chat.script = script
    async with analysing(database, chat.url):
        job_id = await a_call(database)
        row = await with_rules(database, job_id)
        assert row.status in ("pending", "in_progress")
        assert answered(row)[0] == (True, 0, [2])
        chat.let_go.set()
        failed = await reached(database, job_id, "failed")
    assert (failed.categories, failed.scores) == (row.categories, row.scores)


async def test_rules_do_not_wait_for_a_model_that_is_away(database: Database, chat: ChatServer) -> None:
    chat.says(Says(status=503, headers={"Retry-After": "600"}))
    async with analysing(database, chat.url):
        first = await a_call(database)

        async def tried() -> bool:
            row = await analysis(database, first)
            return row is not None and row.error_code is not None

        await until(tried)
        later = await with_rules(database, await a_call(database))
    assert (later.status, later.attempts, later.waits_for_model) == ("pending", 0, True)
    kept = await analysis(database, first)
    assert kept is not None
    assert answered(kept)[0] == (True, 0, [2])


async def test_rules_do_not_wait_for_the_budget_of_the_next_day(database: Database, chat: ChatServer) -> None:
    async with analysing(database, chat.url, tokens_per_day=0):
        job_id = await a_call(database)

        async def waits() -> bool:
            row = await analysis(database, job_id)
            return row is not None and row.run_at.date() > datetime.now(UTC).date()

        await until(waits)
    row = await analysis(database, job_id)
    assert row is not None
    assert (answered(row)[0], row.attempts, chat.asked) == ((True, 0, [2]), 0, [])


async def test_a_text_that_two_scorecards_ask_is_asked_once(database: Database, chat: ChatServer) -> None:
    await define(
        database,
        ScorecardRow,
        "other",
        {"questions": [{"question": "Is it solved?", "by": "model", "expected": False}]},
    )
    chat.script = lambda asked: judged(asked, answers=ANSWERS)
    async with analysing(database, chat.url):
        row = await reached(database, await a_call(database), "completed")
    assert row.scores is not None
    assert chat.asked[0].prompt.count("Is it solved?") == 1
    assert [(score["scorecard"], score["points"]) for score in row.scores] == [("other", 0), ("quality", 5)]


async def test_questions_that_do_not_fit_into_the_prompt_stay_unanswered(database: Database, chat: ChatServer) -> None:
    long = [{"question": f"Is it {number}{'?' * 490}", "by": "model"} for number in range(50)]
    await define(database, ScorecardRow, "long", {"questions": long})
    async with analysing(database, chat.url):
        row = await reached(database, await a_call(database), "completed")
    assert row.error_code is None
    asked = json.dumps([each.prompt for each in chat.asked])
    assert "q1: Is it 0" in asked
    assert "Is it 49" not in asked


async def test_the_end_of_a_job_rarely_asks_whether_its_tenant_has_definitions(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A definition counts at the latest 5 seconds after it was sent."""
    now, known = time.monotonic(), Wanted()
    monkeypatch.setattr(time, "monotonic", lambda: now)
    async with database.transaction() as session:
        assert not await known.rules(session, "acme")
        session.add(CategoryRow(tenant="acme", name="late", definition=LATE, updated_at=datetime.now(UTC)))
        await session.flush()
        assert await known.anything(session, "acme")
        assert not await known.rules(session, "acme")
        now += 5
        assert await known.rules(session, "acme")


A_CALLER = Caller("test", "default", scopes=frozenset())


async def ask_again(database: Database, job_id: UUID, wanted: Wanted) -> Analysis:
    async with database.transaction() as session:
        return await queue.ask(session, job_id, A_CALLER, wanted)


async def test_rules_alone_do_not_hide_that_a_judgement_has_failed(database: Database, chat: ChatServer) -> None:
    chat.says(Says("I cannot."))
    async with analysing(database, chat.url):
        job_id = await a_call(database)
        failed = await reached(database, job_id, "failed")
        for _ in range(2):
            async with database.transaction() as session:
                assert await queue.ask_many(session, [job_id], A_CALLER, Wanted(judges=True), judge=False) == 1
            row = await reached(database, job_id, "failed", "completed")
            assert (row.status, row.error_code, row.error_message) == (
                "failed",
                failed.error_code,
                failed.error_message,
            )
        chat.script = None
        await ask_again(database, job_id, Wanted(judges=True))
        row = await reached(database, job_id, "completed")
    assert (row.error_code, row.judgement is not None) == (None, True)


async def test_a_judgement_stays_until_there_is_a_new_one(database: Database, chat: ChatServer) -> None:
    async with analysing(database, chat.url):
        job_id = await a_call(database)
        old = await reached(database, job_id, "completed")
        chat.says(Says("I cannot."))
        asked = await ask_again(database, job_id, Wanted(judges=True))
        assert (asked.status, asked.judgement, asked.model) == ("pending", old.judgement, old.model)
        failed = await reached(database, job_id, "failed")
    assert (failed.judgement, failed.model, failed.error_code) == (old.judgement, old.model, "judgement_unfit")


async def test_a_request_by_hand_brings_the_next_attempt_forward(database: Database) -> None:
    job_id = await a_call(database)
    later = "UPDATE analysis SET run_at = now() + interval '5 hours', attempts = 7, error_code = 'judgement_refused'"
    await execute(database, later)
    asked = await ask_again(database, job_id, Wanted(judges=True))
    assert (asked.attempts, AnalysisOut.of(asked).retry) == (0, None)
    assert asked.run_at <= datetime.now(UTC)
