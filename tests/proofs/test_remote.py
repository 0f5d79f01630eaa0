"""One Callscribe as the remote model of another, with each kind of trouble between them."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from pathlib import Path
from statistics import median
from subprocess import DEVNULL, Popen
from threading import Event
from typing import Any

import httpx
import pytest

from app.audio.known_speech import SPEECH
from testing.origin import Answer, Exchange, answering
from testing.service import Service, eventually, serving, start_callscribe
from tests.conftest import clone

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
CALL = Path(__file__).parents[2] / "samples" / "sample_call.wav"
ROUTE = "/v1/audio/transcriptions"
KEY = "the-key-of-the-far-service"


@dataclass
class Between:
    """Passes the requests of one service on to the other, unless a test has put an answer of its own in their place."""

    client: httpx.Client
    instead: Answer | None = None
    passed_on: list[httpx.Headers] = field(default_factory=list)

    def answer(self, exchange: Exchange) -> None:
        if self.instead is not None:
            self.instead(exchange)
            return
        headers = httpx.Headers([*exchange.headers.items()])
        self.passed_on.append(headers)
        answer = self.client.post(ROUTE, content=exchange.body, headers=_end_to_end(headers))
        exchange.whole(answer.content, answer.status_code, Content_Type=answer.headers["content-type"])


def _end_to_end(headers: httpx.Headers) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name not in ("host", "connection", "content-length")}


@pytest.fixture(scope="module")
def between(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Between, Service]]:
    """A service with the models `base` and `far`, and what stands between it and the service that runs `far`."""
    folder = tmp_path_factory.mktemp("remote")
    with (
        serving(folder / "far", key=KEY, API_KEYS=f"callscribe:{KEY}", WEBHOOK_URLS="https://example.com/") as far,
        answering() as origin,
    ):
        gate = Between(far.client)
        origin.answers[ROUTE] = gate.answer
        models = f"base,far={origin.url('/v1')}#base"
        settings = {"REMOTE_TIMEOUT_SECONDS": "40", "REMOTE_KEYS": f"far:{KEY}", "SHUTDOWN_GRACE_SECONDS": "1"}
        with serving(folder / "near", MODEL=models, **settings) as near:
            yield gate, near
            assert KEY not in near.log()


def transcript(service: Service, job: dict[str, Any]) -> dict[str, Any]:
    assert ended(service, job)["status"] == "completed"
    return service.read(f"{job['links']['self']}/transcript")


def ended(service: Service, job: dict[str, Any]) -> dict[str, Any]:
    """Waits for minutes, because other tests use this machine too."""
    for _ in range(6):
        if (read := service.ended(job))["status"] not in ("pending", "in_progress"):
            break
    return read


def words_of(transcript: dict[str, Any]) -> list[dict[str, Any]]:
    return [word for segment in transcript["segments"] for word in segment["words"]]


def warned(service: Service) -> bool:
    return any("far" in warning for warning in service.read("/readyz")["warnings"])


def test_a_remote_callscribe_gives_the_text_that_it_gives_by_itself(between: tuple[Between, Service]) -> None:
    gate, near = between
    gate.passed_on.clear()
    own, far = (
        transcript(near, near.create(CALL.read_bytes(), model=model, channels="split", word_timestamps="true"))
        for model in ("base", "far")
    )
    assert far["text"] == own["text"]
    assert (far["language"], far["warnings"]) == (own["language"], [])
    own_words, far_words = words_of(own), words_of(far)
    same = SequenceMatcher(None, [each["word"] for each in own_words], [each["word"] for each in far_words], False)
    away = [
        abs(own_words[block.a + at]["start"] - far_words[block.b + at]["start"])
        for block in same.get_matching_blocks()
        for at in range(block.size)
    ]
    assert len(away) > 140
    assert median(away) <= 0.1
    assert gate.passed_on
    assert all(headers["authorization"] == f"Bearer {KEY}" for headers in gate.passed_on)
    kept = gate.client.get("/v1/transcriptions", params={"status": "completed"}).json()["items"]
    assert kept == []  # the far service keeps nothing of what was said


def test_a_model_of_another_server_shows_what_it_can_do(between: tuple[Between, Service]) -> None:
    _, near = between
    far = near.read("/v1/models")["items"][1]
    assert (far["name"], far["family"], far["abilities"]) == ("far", "remote", ["words", "prompt", "speakers"])
    refused = near.post(CALL.read_bytes(), model="far", task="translate")
    assert refused.status_code == 422
    assert [error["field"] for error in refused.json()["errors"]] == ["task"]


def german(exchange: Exchange) -> None:
    body = {"text": "Guten Tag, mein Name ist Anna, wie kann ich helfen?", "language": "de"}
    exchange.whole(json.dumps(body).encode(), Content_Type="application/json")


TROUBLE: dict[str, Callable[[Exchange], None]] = {
    "dead": lambda exchange: exchange.connection.close(),
    "429": lambda exchange: exchange.whole(b"{}", 429, Retry_After="1"),
    "500": lambda exchange: exchange.whole(b"{}", 500),
    "garbage": lambda exchange: exchange.whole(b"<html>It works!</html>"),
    "401": lambda exchange: exchange.whole(b"{}", 401),
}


@pytest.mark.parametrize("trouble", TROUBLE)
def test_no_trouble_of_the_other_server_costs_a_job(between: tuple[Between, Service], trouble: str) -> None:
    gate, near = between
    gate.instead = TROUBLE[trouble]
    try:
        waiting = near.create(SPEECH.read_bytes(), model="far")
        near.running(waiting)
        if trouble != "429":  # a server that is busy is left alone, and the job takes longer
            eventually(lambda: warned(near))
        other = ended(near, near.create(SPEECH.read_bytes()))
        assert other["status"] == "completed"
        assert near.client.get("/readyz").status_code == 200
    finally:
        gate.instead = None
    assert "How can I help you today?" in transcript(near, waiting)["text"]
    assert near.read(waiting["links"]["self"])["attempts"] == 1
    eventually(lambda: not warned(near))


def test_a_slow_server_only_delays_its_own_jobs(between: tuple[Between, Service]) -> None:
    gate, near = between
    let_go = Event()

    def late(exchange: Exchange) -> None:
        let_go.wait(35)
        german(exchange)

    gate.instead = late
    try:
        waiting = near.create(SPEECH.read_bytes(), model="far", language="de")
        near.running(waiting)
        assert ended(near, near.create(SPEECH.read_bytes()))["status"] == "completed"
        assert near.read(waiting["links"]["self"])["status"] == "in_progress"
    finally:
        let_go.set()
    assert "Guten Tag" in transcript(near, waiting)["text"]
    gate.instead = None


def test_an_answer_in_another_language_is_kept_with_a_warning(between: tuple[Between, Service]) -> None:
    gate, near = between
    gate.instead = german
    try:
        kept = transcript(near, near.create(SPEECH.read_bytes(), model="far", language="en"))
    finally:
        gate.instead = None
    assert "Guten Tag" in kept["text"]
    assert {warning["code"] for warning in kept["warnings"]} == {"window_redecoded"}
    assert {segment["language"] for segment in kept["segments"]} == {"en"}


async def test_a_process_that_only_answers_knows_what_the_workers_cannot_use(
    postgres: str, template: str, tmp_path: Path
) -> None:
    with answering() as origin:
        origin.answers[ROUTE] = TROUBLE["500"]
        async with clone(postgres, template) as address:
            settings = {"DATABASE_URL": address, "MODEL": f"base,far={origin.url('/v1')}#m"}
            with (
                serving(tmp_path, "--no-executor", **settings) as api,
                start_callscribe("worker", folder=tmp_path, stderr=DEVNULL, **settings) as worker,
                closing_worker(worker),
            ):
                eventually(lambda: warned(api))
                waiting = api.create(SPEECH.read_bytes(), model="far", language="de")
                assert (waiting["retry"]["code"], waiting["attempts"]) == ("unavailable", 0)
                refused = asked_as_openai(api)
                assert (refused.status_code, refused.headers["Retry-After"]) == (503, "30")
                assert "The model far cannot be used" in refused.json()["error"]["message"]
                origin.answers[ROUTE] = german
                assert "Guten Tag" in transcript(api, waiting)["text"]
                eventually(lambda: asked_as_openai(api).status_code == 200)
                assert not warned(api)


@contextmanager
def closing_worker(worker: Popen[str]) -> Iterator[None]:
    try:
        yield
    finally:
        worker.terminate()
        assert worker.wait(60) == 0


def asked_as_openai(service: Service) -> httpx.Response:
    files, data = {"file": ("call.wav", SPEECH.read_bytes())}, {"model": "far", "language": "de"}
    return service.client.post(ROUTE, files=files, data=data)
