"""Clients read the analysis of a call, and ask for it."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import UUID

import pytest

from app.access.callers import Scope
from app.database.connections import Database
from testing.chat_server import ChatServer, Says, chat_serving
from testing.forms import refused
from testing.keys import bearer
from testing.listening import Listening, listening
from testing.recordings import call
from testing.rows import KEEP_AUDIO, enqueue
from testing.service import eventually, serving
from testing.waiting import until
from tests.analysis.conftest import analysing, completed, reached

NOBODY = "01989d2e-7c1b-7f9e-8a54-2f0f6f1f9c3e"


@pytest.fixture
def chat() -> Iterator[ChatServer]:
    with chat_serving() as server:
        yield server


@pytest.fixture
async def served(database: Database, tmp_path: Path) -> AsyncIterator[Listening]:
    async with listening(database, tmp_path, llm_url="http://127.0.0.1:9/v1", llm_model="m") as served:
        yield served


def path_of(job_id: UUID | str, what: str = "analysis") -> str:
    return f"/v1/transcriptions/{job_id}/{what}"


async def test_the_analysis_is_shown_with_its_origin(database: Database, served: Listening, chat: ChatServer) -> None:
    async with analysing(database, chat.url):
        job_id = await completed(database)
        await reached(database, job_id, "completed")
    answer = await served.client.get(path_of(job_id))
    shown = answer.json()
    assert (answer.status_code, "retry-after" in answer.headers) == (200, False)
    assert (shown["transcription_id"], shown["status"]) == (str(job_id), "completed")
    assert shown["summary"] == {"text": "An order is late.", "turns": [1]}
    assert (shown["model"], shown["language"], shown["tokens"], shown["dropped"]) == ("scripted", "en", 100, 0)
    assert len(shown["prompt_version"]) == 12
    assert [side["speaker"] for side in shown["sentiment"]["sides"]] == ["agent", "customer"]
    assert (shown["categories"], shown["scores"], shown["answers"]) == (None, None, [])


async def test_one_that_waits_says_why_and_when_to_ask_again(
    database: Database, served: Listening, chat: ChatServer
) -> None:
    chat.says(Says(status=503, headers={"Retry-After": "600"}))
    async with analysing(database, chat.url):
        job_id = await completed(database)

        async def tried() -> bool:
            return (await served.client.get(path_of(job_id))).json()["retry"] is not None

        await until(tried)
    answer = await served.client.get(path_of(job_id))
    shown = answer.json()
    assert (shown["status"], shown["error"], answer.headers["retry-after"]) == ("pending", None, "5")
    assert shown["retry"]["code"] == "judgement_unavailable"


async def test_a_call_is_analysed_when_a_client_asks_and_again(
    database: Database, served: Listening, chat: ChatServer
) -> None:
    job_id = await completed(database, at_end=KEEP_AUDIO)
    refused(await served.client.get(path_of(job_id)), 404, "not_found")
    answer = await served.client.post(path_of(job_id, "analyse"))
    assert (answer.status_code, answer.json()["status"]) == (202, "pending")
    assert answer.headers["location"] == path_of(job_id)
    async with analysing(database, chat.url):
        await reached(database, job_id, "completed")
        again = (await served.client.post(path_of(job_id, "analyse"))).json()
        assert (again["status"], again["attempts"]) == ("pending", 0)
        assert again["summary"] == {"text": "An order is late.", "turns": [1]}  # it stays until there is a new one
        await reached(database, job_id, "completed")
    assert len(chat.asked) == 2


async def test_a_second_request_queues_nothing_new(database: Database, served: Listening) -> None:
    job_id = await completed(database)
    first, second = [(await served.client.post(path_of(job_id, "analyse"))).json() for _ in range(2)]
    assert first == second


async def test_a_call_without_a_transcript_cannot_be_analysed(database: Database, served: Listening) -> None:
    job = await enqueue(database)
    for request in (served.client.get(path_of(job.id)), served.client.post(path_of(job.id, "analyse"))):
        problem = refused(await request, 409, "not_completed")
        assert "The transcription is pending" in problem["detail"]


async def test_a_call_that_does_not_exist_or_belongs_to_others_is_not_found(
    database: Database, served: Listening
) -> None:
    job_id = await completed(database, tenant="acme")
    stranger = await bearer(served, "crm", "globex")
    for each in (job_id, NOBODY):
        refused(await served.client.get(path_of(each), headers=stranger), 404, "not_found")
        refused(await served.client.post(path_of(each, "analyse"), headers=stranger), 404, "not_found")


async def test_nothing_is_queued_if_there_is_nothing_to_find_out(database: Database, tmp_path: Path) -> None:
    job_id = await completed(database, at_end=KEEP_AUDIO)
    async with listening(database, tmp_path) as served:
        refused(await served.client.post(path_of(job_id, "analyse")), 409, "nothing_to_analyse")


async def test_only_the_calls_of_chosen_tenants_are_judged(database: Database, tmp_path: Path) -> None:
    jobs = {tenant: await completed(database, tenant=tenant, at_end=KEEP_AUDIO) for tenant in ("acme", "globex")}
    model = {"llm_url": "http://127.0.0.1:9/v1", "llm_model": "m", "llm_tenants": "acme"}
    async with listening(database, tmp_path, **model) as served:
        for tenant, job_id in jobs.items():
            key = await bearer(served, "crm", tenant)
            answer = await served.client.post(path_of(job_id, "analyse"), headers=key)
            assert answer.status_code == (202 if tenant == "acme" else 409)


async def test_reads_and_requests_leave_entries_in_the_audit(database: Database, served: Listening) -> None:
    key, boss = await bearer(served, "crm", "acme"), await bearer(served, "boss", scopes=[Scope.ADMIN])
    job_id = await completed(database, tenant="acme", at_end=KEEP_AUDIO)
    await served.client.post(path_of(job_id, "analyse"), headers=key)
    await served.client.post(path_of(job_id, "analyse"), headers=key)
    await served.client.get(path_of(job_id), headers=key)
    entries = (await served.client.get("/v1/audit", headers=boss)).json()["items"]
    done = [entry["action"] for entry in entries if entry["transcription_id"] == str(job_id)]
    assert done == ["analysis.read", "call.analysed"]
    reader = await bearer(served, "reader", "acme", scopes=[Scope.READ])
    refused(await served.client.post(path_of(job_id, "analyse"), headers=reader), 403, "forbidden")


def test_the_service_judges_a_real_call_and_sends_the_event(tmp_path: Path, chat: ChatServer) -> None:
    """The whole path: a recording is transcribed by the real model, and judged by the scripted one."""
    with serving(tmp_path / "service", LLM_URL=chat.url, LLM_MODEL="scripted", LLM_API_KEY="secret") as service:
        job = service.ended(service.create(call(0, 12), channels="split"))
        path = job["links"]["self"] + "/analysis"
        eventually(lambda: service.read(path)["status"] == "completed")
        shown = service.read(path)
        service.stop()
    assert shown["summary"]["text"] == "An order is late."
    assert chat.asked[0].headers["authorization"] == "Bearer secret"
    log = (tmp_path / "service" / "serve.log").read_text()
    assert "An order is late" not in log
    assert "secret" not in log
