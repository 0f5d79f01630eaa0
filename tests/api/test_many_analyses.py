"""Clients have old calls analysed: which ones, in which order, and what stays."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from app.access.callers import Scope
from app.analysis import analyses, queue
from app.analysis.queue import NOTHING_FREE, Free, Notifying
from app.analysis.runner import AnalysisRunner
from app.analysis.stage import Stage
from app.database.connections import Database
from app.database.notifications import Signals
from app.deliveries import outbox
from testing.chat_server import ChatServer, chat_serving, judged
from testing.forms import refused
from testing.keys import bearer
from testing.listening import Listening, listening
from testing.rows import KEEP_AUDIO, enqueue
from tests.analysis.conftest import JUDGED, analysing, analysis, completed, reached, running

LATE = {"role": "customer", "any_of": ["not arrived"]}
CARD = {"questions": [{"question": "Is it solved?", "by": "model", "weight": 3}]}
ANSWER = {"question": "q1", "value": True, "turns": [3]}


@pytest.fixture
def chat() -> Iterator[ChatServer]:
    with chat_serving() as server:
        yield server


@pytest.fixture
async def served(database: Database, tmp_path: Path) -> AsyncIterator[Listening]:
    async with listening(database, tmp_path, llm_url="http://127.0.0.1:9/v1", llm_model="m") as served:
        await served.client.put("/v1/categories/late", json=LATE)
        yield served


async def queued(served: Listening, **asked: Any) -> int:
    answer = await served.client.post("/v1/analyses", json=asked)
    assert answer.status_code == 202, answer.text
    assert answer.json()["next_cursor"] is None
    return int(answer.json()["queued"])


async def test_rules_are_applied_to_old_calls_without_events(database: Database, served: Listening) -> None:
    webhook: dict[str, Any] = {"webhook_urls": ["https://crm.example/hook"]}
    old = [await completed(database, at_end=KEEP_AUDIO, **webhook) for _ in range(3)]
    await enqueue(database)
    assert await queued(served) == 3
    assert (await served.client.get("/v1/analyses")).json() == {"pending": 3, "in_progress": 0}
    assert await queued(served) == 0
    async with running(AnalysisRunner(database, Signals(database), Stage(database), Notifying())):
        rows = [await reached(database, job_id, "completed") for job_id in old]
    assert [[each["name"] for each in row.categories or ()] for row in rows] == [["late"]] * 3
    async with database.transaction() as session:
        assert [event.type for event, _ in await outbox.find(session, old[0])] == ["transcription.completed"]
    assert (await served.client.get("/v1/analyses")).json() == {"pending": 0, "in_progress": 0}


async def test_an_earlier_judgement_stays_and_answers_questions_of_today(
    database: Database, served: Listening, chat: ChatServer
) -> None:
    await served.client.put("/v1/scorecards/quality", json=CARD)
    chat.script = lambda asked: judged(asked, answers=[ANSWER])
    async with analysing(database, chat.url):
        job_id = await completed(database, at_end=JUDGED)
        before = await reached(database, job_id, "completed")
        harder = {"questions": [{**CARD["questions"][0], "expected": False}, {"question": "New?", "by": "model"}]}
        await served.client.put("/v1/scorecards/quality", json=harder)
        assert await queued(served) == 1
        row = await reached(database, job_id, "completed")
    assert (row.judgement, row.model, row.tokens) == (before.judgement, "scripted", 100)
    assert before.scores is not None
    assert row.scores is not None
    assert (before.scores[0]["points"], row.scores[0]["points"]) == (3, 0)
    assert [answer["value"] for answer in row.scores[0]["answers"]] == [True, None]
    assert len(chat.asked) == 1


async def test_calls_are_judged_again_only_if_the_client_wants_it(
    database: Database, served: Listening, chat: ChatServer
) -> None:
    async with analysing(database, chat.url):
        job_id = await completed(database, at_end=JUDGED)
        await reached(database, job_id, "completed")
        assert await queued(served, judge=True) == 1
        row = await reached(database, job_id, "completed")
    assert (len(chat.asked), row.tokens) == (2, 100)


async def test_only_calls_that_fit_the_filters_are_analysed(database: Database, served: Listening) -> None:
    billing = await completed(
        database, at_end=KEEP_AUDIO, metadata_={"queue": "billing"}, external_id="a", language="zh"
    )
    await completed(database, at_end=KEEP_AUDIO, metadata_={"queue": "sales"})
    await completed(database, tenant="acme", at_end=KEEP_AUDIO, metadata_={"queue": "billing"})
    assert await queued(served, created_before="2020-01-01") == 0
    assert await queued(served, metadata={"queue": "support"}) == 0
    assert await queued(served, external_id="b") == 0
    assert await queued(served, metadata={"queue": "billing"}, external_id="a", created_after="2020-01-01") == 1
    assert await analysis(database, billing) is not None


async def test_many_calls_take_several_transactions_and_requests(
    database: Database, served: Listening, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(analyses, "CHUNK", 2)
    monkeypatch.setattr(analyses, "MOST_AT_ONCE", 4)
    for _ in range(5):
        await completed(database, at_end=KEEP_AUDIO)
    first = (await served.client.post("/v1/analyses", json={})).json()
    assert first["queued"] == 4
    second = (await served.client.post("/v1/analyses", json={"cursor": first["next_cursor"]})).json()
    assert second == {"queued": 1, "next_cursor": None}


async def claimed(database: Database, free: Free) -> list[UUID]:
    async with database.transaction() as session:
        return [each.transcription_id for each in await queue.claim(session, free, NOTHING_FREE)]


async def test_new_calls_of_all_tenants_go_first_and_keep_slots(database: Database, served: Listening) -> None:
    old = [await completed(database, at_end=KEEP_AUDIO) for _ in range(4)]
    assert await queued(served) == 4
    at_once = await bearer(served, "crm", "acme")
    new = [await completed(database, tenant="acme", at_end=KEEP_AUDIO) for _ in range(3)]
    await served.client.put("/v1/categories/late", json=LATE, headers=at_once)
    for each in new[:2]:
        await served.client.post(f"/v1/transcriptions/{each}/analyse", headers=at_once)
    first = await claimed(database, Free(3, 2))
    assert set(first[:3]) > set(new[:2])
    assert len(set(first) & set(old)) == 1
    assert len(await claimed(database, Free(3, 1))) == 1
    await served.client.post(f"/v1/transcriptions/{new[2]}/analyse", headers=at_once)
    assert await claimed(database, Free(1, 0)) == [new[2]]


async def test_tenants_take_turns_with_their_old_calls(database: Database, served: Listening) -> None:
    many = [await completed(database, at_end=KEEP_AUDIO) for _ in range(4)]
    few = [await completed(database, tenant="acme", at_end=KEEP_AUDIO)]
    assert await queued(served) == 4
    key = await bearer(served, "crm", "acme")
    await served.client.put("/v1/categories/late", json=LATE, headers=key)
    await served.client.post("/v1/analyses", json={}, headers=key)
    assert {*await claimed(database, Free(2, 2))} & {*few} == {*few}
    assert {*await claimed(database, Free(4, 4))} < {*many}


async def test_a_call_for_which_somebody_asks_goes_before_the_others(database: Database, served: Listening) -> None:
    old = [await completed(database, at_end=KEEP_AUDIO) for _ in range(3)]
    await queued(served)
    await served.client.post(f"/v1/transcriptions/{old[2]}/analyse")
    assert await claimed(database, Free(1, 1)) == [old[2]]


async def test_nothing_is_queued_if_there_is_nothing_to_find_out(database: Database, tmp_path: Path) -> None:
    await completed(database, at_end=KEEP_AUDIO)
    async with listening(database, tmp_path, llm_url="http://127.0.0.1:9/v1", llm_model="m") as served:
        refused(await served.client.post("/v1/analyses", json={}), 409, "nothing_to_analyse")
        assert await queued(served, judge=True) == 1


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"judge": "yes"}, "judge"),
        ({"created_after": 0}, "created_after"),
        ({"language": ["auto"]}, "language.0"),
        ({"metadata": {"a": 1}}, "metadata.a"),
        ({"metadata": {f"{number}": "" for number in range(11)}}, "metadata"),
        ({"status": "failed"}, "status"),
        ({"cursor": "x"}, "cursor"),
    ],
)
async def test_a_request_that_makes_no_sense_is_refused(served: Listening, asked: dict[str, Any], field: str) -> None:
    problem = refused(await served.client.post("/v1/analyses", json=asked), 422, "invalid_request")
    assert [error["field"] for error in problem["errors"]] == [field]


async def test_it_needs_the_scope_to_transcribe_and_leaves_an_entry_in_the_audit(
    database: Database, served: Listening
) -> None:
    reader = await bearer(served, "reader", scopes=[Scope.READ])
    boss = await bearer(served, "boss", scopes=[Scope.ADMIN])
    refused(await served.client.post("/v1/analyses", json={}, headers=reader), 403, "forbidden")
    await completed(database, at_end=KEEP_AUDIO)
    key = await bearer(served, "crm")
    await served.client.post("/v1/analyses", json={}, headers=key)
    entries = (await served.client.get("/v1/audit", headers=boss)).json()["items"]
    assert [each["details"] for each in entries if each["action"] == "calls.analysed"] == [{"calls": 1, "judge": False}]
