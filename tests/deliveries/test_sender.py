"""The sender with a real receiver, which answers in all the ways that receivers do."""

import asyncio
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import func
from sqlmodel import col, update
from standardwebhooks import Webhook
from structlog.testing import capture_logs

from app.database.connections import Database
from app.database.notifications import notify
from app.deliveries.models import Delivery, DeliveryStatus
from app.deliveries.outputs_of_events import DUE_TOPIC
from app.network.guard import NetworkGuard
from testing.receiver import HUGE_BYTES, Receiver, receiving
from testing.waiting import soon
from tests.conftest import clone
from tests.deliveries.conftest import (
    SECRET,
    attempts,
    deliveries,
    end,
    sending,
    settled,
    tried,
)

DELIVERED, PENDING, FAILED = DeliveryStatus.DELIVERED, DeliveryStatus.PENDING, DeliveryStatus.FAILED
FIRST_RETRY = (timedelta(seconds=4), timedelta(seconds=6))
AN_HOUR = (timedelta(hours=1), timedelta(hours=1))
MATRIX: dict[str, tuple[DeliveryStatus, int | str, tuple[timedelta, timedelta] | None]] = {
    "200": (DELIVERED, 200, None),
    "204": (DELIVERED, 204, None),
    "301": (PENDING, 301, FIRST_RETRY),
    "400": (PENDING, 400, FIRST_RETRY),
    "404": (PENDING, 404, FIRST_RETRY),
    "410": (FAILED, 410, None),
    "429": (PENDING, 429, AN_HOUR),
    "500": (PENDING, 500, FIRST_RETRY),
    "503": (PENDING, 503, FIRST_RETRY),
    "hang": (PENDING, "timeout", FIRST_RETRY),
    "trickle": (DELIVERED, 200, None),
    "huge": (DELIVERED, 200, None),
    "reset": (PENDING, "connection_lost", FIRST_RETRY),
    "bad-tls": (PENDING, "tls_failed", FIRST_RETRY),
    "refused": (PENDING, "connection_failed", FIRST_RETRY),
    "no-such-name": (PENDING, "name_not_found", FIRST_RETRY),
}


@pytest.fixture(scope="module")
async def seen(postgres: str, template: str) -> AsyncIterator[SimpleNamespace]:
    """The deliveries, the attempts and the receiver, after one attempt for each case of MATRIX."""
    async with clone(postgres, template) as address, receiving() as receiver:
        special = {
            "bad-tls": receiver.url("/bad-tls", scheme="https"),
            "refused": "http://127.0.0.1:9/",
            "no-such-name": "http://no-such-name.invalid/",
        }
        database = Database(address)
        async with sending(database, attempt_seconds=1):
            jobs = {case: await end(database, special.get(case, receiver.url(f"/{case}"))) for case in MATRIX}
            found = {case: (await tried(database, job.id))[0] for case, job in jobs.items()}
        logs = {case: (await attempts(database, delivery))[0] for case, delivery in found.items()}
        yield SimpleNamespace(deliveries=found, attempts=logs, receiver=receiver)
        await database.close()


@pytest.mark.parametrize("case", MATRIX)
def test_each_answer_has_its_expected_outcome(seen: SimpleNamespace, case: str) -> None:
    status, answer, wait = MATRIX[case]
    delivery, attempt = seen.deliveries[case], seen.attempts[case]
    assert (delivery.status, delivery.attempts) == (status, 1)
    assert answer in (attempt.status_code, attempt.error)
    assert (delivery.finished_at is None) == (status is PENDING)
    if wait is not None:
        ended = attempt.started_at + timedelta(milliseconds=attempt.milliseconds)
        assert wait[0] <= delivery.next_attempt_at - ended <= wait[1] + timedelta(seconds=5)


def test_redirects_are_not_followed(seen: SimpleNamespace) -> None:
    assert seen.receiver.at("/moved") == []


def test_only_the_beginning_of_an_answer_is_read_and_stored(seen: SimpleNamespace) -> None:
    assert seen.receiver.huge_sent < HUGE_BYTES / 2
    assert len(seen.attempts["huge"].response.encode()) <= 3 * 2048
    assert seen.attempts["200"].response == "thanks"


def test_cookies_of_receivers_are_not_sent_back(seen: SimpleNamespace) -> None:
    assert all("cookie" not in request.headers for request in seen.receiver.received)


def test_the_standard_webhooks_package_verifies_every_signature(seen: SimpleNamespace) -> None:
    assert len(seen.receiver.received) >= 12
    for request in seen.receiver.received:
        event = Webhook(SECRET).verify(request.body, request.headers)
        assert event["type"] == "transcription.completed"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_the_guard_checks_each_attempt(database: Database, receiver: Receiver, host: str) -> None:
    async with sending(database, guard=NetworkGuard()):
        job = await end(database, receiver.url("/200", host=host))
        [delivery] = await tried(database, job.id)
    [attempt] = await attempts(database, delivery)
    assert (delivery.status, attempt.error) == (PENDING, "url_not_allowed")
    assert receiver.received == []


async def test_a_callback_is_called_with_its_placeholders_filled_in(database: Database, receiver: Receiver) -> None:
    address = receiver.url("/200?fileName={file_name}&id={id}&as={status}/{external_id}&x=%20")
    async with sending(database):
        job = await end(database, callback_urls=[address], filename="Ünï & co/1+1.wav", external_id="a b")
        [delivery] = await settled(database, job.id)
    [request] = receiver.received
    encoded = "%C3%9Cn%C3%AF%20%26%20co%2F1%2B1.wav"
    assert request.target == f"/200?fileName={encoded}&id={job.id}&as=completed/a%20b&x=%20"
    assert (request.method, request.body) == ("GET", b"")
    assert request.headers["webhook-id"] == str(delivery.event_id)
    assert "webhook-signature" not in request.headers


async def test_a_callback_that_would_lose_its_path_is_not_called(database: Database, receiver: Receiver) -> None:
    async with sending(database):
        job = await end(database, callback_urls=[receiver.url("/api/{external_id}/200")], external_id="..")
        [delivery] = await tried(database, job.id)
    [attempt] = await attempts(database, delivery)
    assert (attempt.error, receiver.received) == ("url_not_allowed", [])
    assert delivery.url.endswith("/api/{external_id}/200")


async def test_a_retry_brings_the_same_bytes_under_the_same_id(database: Database, receiver: Receiver) -> None:
    async with sending(database):
        job = await end(database, receiver.url("/500"), receiver.url("/other/500"))
        for times in (1, 2):
            await tried(database, job.id, times)
            await make_due(database)
        await tried(database, job.id, 3)
    assert len(receiver.received) >= 6
    assert len({(request.headers["webhook-id"], request.body) for request in receiver.received}) == 1
    assert {request.path for request in receiver.received} == {"/500", "/other/500"}


async def test_a_host_gets_at_most_four_requests_at_the_same_time(database: Database, receiver: Receiver) -> None:
    for _ in range(12):
        await end(database, receiver.url("/hang"))
    quick = await end(database, receiver.url("/200", host="127.0.0.1").replace("127.0.0.1", "localhost"))
    async with sending(database, attempt_seconds=1), sending(database, attempt_seconds=1):
        [delivery] = await settled(database, quick.id)
        assert delivery.status == DELIVERED
    assert receiver.most_busy <= 5


async def test_an_attempt_that_outlasts_the_grace_is_given_back(database: Database, receiver: Receiver) -> None:
    async with sending(database, grace_seconds=0):
        job = await end(database, receiver.url("/hang"))
        await soon(lambda: len(receiver.received) == 1)
    [delivery] = await deliveries(database, job.id)
    assert (delivery.status, delivery.attempts, delivery.lease_token) == (PENDING, 0, None)


async def test_an_attempt_that_is_under_way_may_end_within_the_grace(database: Database, receiver: Receiver) -> None:
    started, go_on = asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        started.set()
        await go_on.wait()

    receiver.wait_in_answer = wait
    async with sending(database) as sender:
        job = await end(database, receiver.url("/200"))
        await started.wait()
        draining = asyncio.create_task(sender.drain(5))
        go_on.set()
        await draining
    [delivery] = await deliveries(database, job.id)
    assert (delivery.status, len(receiver.received)) == (DELIVERED, 1)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl for the certificate")
async def test_an_untrusted_certificate_is_refused(database: Database, tmp_path: Path) -> None:
    async with tls_server(tmp_path) as port, sending(database):
        job = await end(database, f"https://localhost:{port}/")
        [delivery] = await tried(database, job.id)
    [attempt] = await attempts(database, delivery)
    assert attempt.error == "tls_failed"


async def test_logs_contain_only_the_host_of_a_url(
    database: Database, receiver: Receiver, capsys: pytest.CaptureFixture[str]
) -> None:
    async with sending(database):
        job = await end(database, receiver.url("/200?token=s3cret"), receiver.url("/500?token=s3cret"))
        await tried(database, job.id)
    logged = "".join(capsys.readouterr())
    assert f"127.0.0.1:{receiver.port}" in logged
    assert "s3cret" not in logged


async def test_only_a_delivery_that_is_given_up_is_logged_as_a_warning(database: Database, receiver: Receiver) -> None:
    with capture_logs() as logs:
        async with sending(database):
            job = await end(database, receiver.url("/200"), receiver.url("/500"), receiver.url("/410"))
            await tried(database, job.id)
    found = {line["status_code"]: (line["log_level"], line["job"]) for line in logs if "status_code" in line}
    assert found == {200: ("info", str(job.id)), 500: ("info", str(job.id)), 410: ("warning", str(job.id))}


async def make_due(database: Database) -> None:
    async with database.transaction() as session:
        pending = update(Delivery).where(col(Delivery.status) == PENDING)
        await session.exec(pending.values(next_attempt_at=func.now()))
        await notify(session, DUE_TOPIC)


@asynccontextmanager
async def tls_server(folder: Path) -> AsyncIterator[int]:
    """A server with a self-signed certificate. Yields its port."""
    make = "openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 1 -subj /CN=localhost"
    await asyncio.to_thread(subprocess.run, make.split(), cwd=folder, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")

    async def hang_up(_: Any, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]
        server.close()
