"""One trace of a call from the request to the webhook, as a collector gets it, and what no trace may show."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook

from testing.chat_server import MODEL, chat_serving
from testing.collector import CollectedSpan, Collector, collecting
from testing.origin import Origin, answering
from testing.receiver import Receiver
from testing.recordings import call, tone
from testing.redis_server import redis_serving
from testing.service import Service, eventually, serving
from tests.conftest import ALICE, clone

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
CLIENTS = f"00-{TRACE}-{PARENT}-01"
SECRET = "whsec_MfKQ9r8GKYqTwjUPD8ILPZIo2LaLaSwF"
STAGES = {"POST /v1/transcriptions", "queued", "attempt", "fetch", "decode", "transcribe", "deliver webhook"}
CONFIDENTIAL = ["sip-token-77", "customer-4711", "Mrs. Sample", "call-of-mrs-sample", ALICE, "hook-token-88"]


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with collecting() as collector:
        yield collector


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("watched")


@pytest.fixture(scope="module")
async def traced(
    postgres: str, template: str, workspace: Path, collector: Collector, watched: Path
) -> AsyncIterator[Service]:
    """A service that sends its spans to the collector."""
    settings = {"API_KEYS": f"alice:{ALICE}", "ALLOWED_NETWORKS": "127.0.0.0/8", "WEBHOOK_SECRET": SECRET}
    settings |= {"WATCH": str(watched), "WATCH_SETTLE_SECONDS": "0.1"}
    async with clone(postgres, template) as address:
        with ExitStack() as stack:
            with pytest.MonkeyPatch.context() as patch:  # only for this service, and not for others of this module
                patch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint)
                patch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
                service = serving(workspace / "traced", key=ALICE, DATABASE_URL=address, **settings)
                started = stack.enter_context(service)
            yield started


@pytest.fixture
def origin() -> Iterator[Origin]:
    with answering() as origin:
        origin.answers["/call-of-mrs-sample.wav"] = lambda exchange: exchange.whole(tone())
        yield origin


def fetched_call(service: Service, origin: Origin, receiver: Receiver, **headers: str) -> dict[str, Any]:
    asked = {
        "url": origin.url("/call-of-mrs-sample.wav?token=sip-token-77"),
        "webhook_url": receiver.url("/200?token=hook-token-88"),
        "external_id": "customer-4711",
        "prompt": "Mrs. Sample",
        "metadata": {"customer": "Mrs. Sample"},
    }
    answer = service.client.post("/v1/transcriptions/from-url", json=asked, headers=headers)
    assert answer.status_code == 202, answer.text
    return service.ended(dict(answer.json()))


def by_name(spans: list[CollectedSpan]) -> dict[str, CollectedSpan]:
    return {span.name: span for span in spans}


async def test_one_trace_leads_from_the_clients_span_to_the_webhook(
    traced: Service, collector: Collector, origin: Origin, receiver: Receiver
) -> None:
    job = await asyncio.to_thread(fetched_call, traced, origin, receiver, traceparent=CLIENTS)
    names = {*(STAGES - {"POST /v1/transcriptions"}), "POST /v1/transcriptions/from-url"}
    spans = by_name(await asyncio.to_thread(collector.trace, TRACE, *names))
    assert set(spans) == names
    request, attempt = spans["POST /v1/transcriptions/from-url"], spans["attempt"]
    assert request.parent == PARENT
    assert {spans[name].parent for name in ("queued", "attempt", "deliver webhook")} == {request.id}
    assert {spans[name].parent for name in ("fetch", "decode", "transcribe")} == {attempt.id}
    assert request.start < spans["fetch"].start < spans["decode"].start < spans["transcribe"].start
    assert attempt.attributes == {
        "callscribe.job.id": job["id"],
        "callscribe.model": "base",
        "callscribe.attempt": 1,
    }
    assert request.attributes["http.response.status_code"] == 202
    assert attempt.resource["service.name"] == "callscribe"
    assert not any(span.is_error for span in spans.values())
    assert f'"trace_id": "{TRACE}"' in traced.log()


async def test_each_attempt_of_a_webhook_has_a_span_and_the_signed_bytes_stay(
    traced: Service, collector: Collector, origin: Origin, receiver: Receiver
) -> None:
    job = await asyncio.to_thread(fetched_call, traced, origin, receiver)
    await asyncio.to_thread(eventually, lambda: len(receiver.received) == 1)
    [delivery] = (await asyncio.to_thread(traced.read, f"{job['links']['self']}/deliveries"))["items"]
    await asyncio.to_thread(traced.client.post, f"/v1/deliveries/{delivery['id']}/redeliver")
    await asyncio.to_thread(eventually, lambda: len(receiver.received) == 2)
    first, second = receiver.received
    assert first.body == second.body
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    for request in (first, second):
        Webhook(SECRET).verify(request.body, request.headers)
    (_, trace, one, _), (_, same, other, _) = (each.headers["traceparent"].split("-") for each in (first, second))
    assert trace == same
    assert one != other
    await asyncio.to_thread(
        eventually, lambda: {one, other} <= {span.id for span in collector.spans if span.name == "deliver webhook"}
    )


async def test_spans_show_no_text_of_the_call_no_key_and_no_url(
    traced: Service, collector: Collector, origin: Origin, receiver: Receiver
) -> None:
    job = await asyncio.to_thread(fetched_call, traced, origin, receiver)
    listed = await asyncio.to_thread(traced.read, "/v1/transcriptions?external_id=customer-4711")
    assert listed["items"]
    await asyncio.to_thread(traced.client.get, "/v1/transcriptions/Mrs. Sample/transcript")
    await asyncio.to_thread(collector.of_job, job["id"], "deliver webhook")
    await asyncio.to_thread(eventually, lambda: any(span.name == "GET /v1/transcriptions" for span in collector.spans))
    sent = b"".join(collector.bodies)
    assert [text for text in CONFIDENTIAL if text.encode() in sent] == []


def test_a_failed_call_shows_the_code_of_its_error_and_where_it_happened(
    traced: Service, collector: Collector, origin: Origin
) -> None:
    origin.answers["/missing.wav"] = lambda exchange: exchange.whole(b"", 404)
    asked = {"url": origin.url("/missing.wav")}
    job = traced.client.post("/v1/transcriptions/from-url", json=asked).json()
    attempt = collector.of_job(job["id"], "attempt")
    spans = by_name(collector.trace(attempt.trace, "fetch", "attempt"))
    assert spans["fetch"].is_error
    assert spans["attempt"].is_error
    assert spans["fetch"].attributes["error.type"] == "fetch_failed"


@pytest.mark.parametrize(
    "hostile",
    [
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"ff-{TRACE}-{PARENT}-01",
        f"{CLIENTS}-more",
        CLIENTS.upper(),
        CLIENTS[:-1],
        f"00-{TRACE}-{PARENT}-01\x01",
        "'; DROP TABLE transcription; --",
        "é",
        "9" * 30_000,
    ],
)
def test_a_hostile_parent_begins_a_trace_of_its_own(traced: Service, collector: Collector, hostile: str) -> None:
    sent = [(b"traceparent", hostile.encode("latin-1"))]
    job = traced.client.post("/v1/transcriptions", files={"file": ("call.wav", tone())}, headers=sent)
    assert job.status_code in (202, 400)  # the parser refuses control characters in any header
    if job.status_code == 202:
        request = collector.of_job(job.json()["id"], "POST /v1/transcriptions")
        assert (request.parent, request.trace != TRACE) == ("", True)


def test_two_parents_are_none(traced: Service, collector: Collector) -> None:
    headers = [("traceparent", CLIENTS), ("traceparent", CLIENTS)]
    sent = {"file": ("call.wav", tone())}
    job = traced.client.post("/v1/transcriptions", files=sent, headers=headers).json()
    assert collector.of_job(job["id"], "POST /v1/transcriptions").parent == ""


def test_a_client_that_records_nothing_may_ask_the_same_of_us(traced: Service, collector: Collector) -> None:
    silent = "5bf92f3577b34da6a3ce929d0e0e4736"
    headers = {"traceparent": f"00-{silent}-{PARENT}-00"}
    job = traced.client.post("/v1/transcriptions", files={"file": ("call.wav", tone())}, headers=headers).json()
    traced.ended(job)
    later = traced.ended(traced.create())
    collector.of_job(later["id"], "attempt")
    assert not [span for span in collector.spans if span.trace == silent]


def test_a_watched_file_begins_a_trace(traced: Service, collector: Collector, watched: Path) -> None:
    (watched / "call.wav").write_bytes(tone())
    eventually(lambda: any(span.name == "take file" for span in collector.spans))
    [taken] = [span for span in collector.spans if span.name == "take file"]
    spans = by_name(collector.trace(taken.trace, "take file", "queued", "attempt"))
    assert (taken.parent, spans["attempt"].parent) == ("", taken.id)


def test_each_call_of_a_batch_has_a_trace(traced: Service, collector: Collector, origin: Origin) -> None:
    urls = [origin.url(f"/call-of-mrs-sample.wav?number={number}") for number in range(2)]
    batch = traced.client.post("/v1/batches", json={"source": {"urls": urls}})
    assert batch.status_code == 202, batch.text
    eventually(lambda: len([span for span in collector.spans if span.name == "feed"]) == 2)
    fed = [span for span in collector.spans if span.name == "feed"]
    assert len({span.trace for span in fed}) == 2
    for span in fed:
        assert by_name(collector.trace(span.trace, "feed", "attempt"))["attempt"].parent == span.id


async def test_a_message_continues_the_trace_of_its_sender(
    postgres: str, template: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, collector: Collector
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint)
    trace = "6bf92f3577b34da6a3ce929d0e0e4736"
    with redis_serving() as redis:
        async with clone(postgres, template) as address:
            settings = {"DATABASE_URL": address, "REDIS_URL": redis.url, "REDIS_RESULTS": "callscribe:results"}
            with serving(tmp_path / "data", "--no-executor", **settings) as service:
                redis.add(url="https://calls.example/call.wav", traceparent=f"00-{trace}-{PARENT}-01")
                eventually(lambda: bool(service.read("/v1/transcriptions")["items"]))
                [job] = service.read("/v1/transcriptions")["items"]
                service.client.post(f"{job['links']['self']}/cancel")
                eventually(lambda: bool(redis.entries("callscribe:results")))
                [event] = redis.entries("callscribe:results")
                service.stop()  # the last spans are sent at the end of the process
    spans = by_name([span for span in collector.spans if span.trace == trace])
    assert set(spans) == {"receive message", "deliver stream"}
    assert spans["receive message"].parent == PARENT
    assert spans["deliver stream"].parent == spans["receive message"].id
    assert event["traceparent"] == f"00-{trace}-{spans['deliver stream'].id}-01"


async def test_an_analysis_is_a_part_of_the_trace_of_its_call(
    postgres: str, template: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, collector: Collector
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint)
    trace = "7bf92f3577b34da6a3ce929d0e0e4736"
    with chat_serving() as chat:
        async with clone(postgres, template) as address:
            model = {"LLM_URL": chat.url, "LLM_MODEL": MODEL, "LLM_API_KEY": "model-key-99"}
            with serving(tmp_path / "data", DATABASE_URL=address, **model) as service:
                service.client.put("/v1/categories/refund", json={"any_of": ["refund"]}).raise_for_status()
                headers = {"traceparent": f"00-{trace}-{PARENT}-01"}
                job = service.ended(service.post(call(0.0, 4.0), headers=headers).json())
                analysis = f"{job['links']['self']}/analysis"
                eventually(lambda: service.read(analysis)["status"] == "completed")
                service.stop()
    spans = by_name([span for span in collector.spans if span.trace == trace])
    request = spans["POST /v1/transcriptions"]
    assert {spans[name].parent for name in ("attempt", "apply rules", "judge")} == {request.id}
    assert spans["judge"].attributes["callscribe.tokens"] == 100
    assert "model-key-99" not in str(spans)


async def test_without_a_collector_the_client_is_the_parent_of_the_webhook(
    postgres: str, template: str, tmp_path: Path, receiver: Receiver
) -> None:
    async with clone(postgres, template) as address:
        settings = {"DATABASE_URL": address, "ALLOWED_NETWORKS": "127.0.0.0/8"}
        with serving(tmp_path / "data", "--no-executor", **settings) as service:
            for headers in ({"traceparent": CLIENTS}, {}):
                job = (await asyncio.to_thread(service.post, headers=headers, webhook_url=receiver.url("/200"))).json()
                await asyncio.to_thread(service.client.post, f"{job['links']['self']}/cancel")
            await asyncio.to_thread(eventually, lambda: len(receiver.received) == 2)
    assert [request.headers.get("traceparent") for request in receiver.received] == [CLIENTS, None]
