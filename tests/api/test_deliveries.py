"""Webhooks and callbacks of the real service to a real receiver."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from standardwebhooks import Webhook

from testing.command_line import run_command
from testing.forms import refused
from testing.receiver import Receiver
from testing.service import Service, eventually, serving
from tests.conftest import clone

NOBODY = "01989d2e-7c1b-7f9e-8a54-2f0f6f1f9c3e"
PRIVATE = "127.0.0.0/8"


@pytest.fixture(scope="module")
async def address(postgres: str, template: str) -> AsyncIterator[str]:
    async with clone(postgres, template) as address:
        yield address


@pytest.fixture(scope="module")
def service(address: str, workspace: Path) -> Iterator[Service]:
    """A service without a worker, which may call this machine. Jobs that name no receiver get the configured one."""
    defaults = {"CALLBACK_URLS": "http://127.0.0.1:9/default?fileName={file_name}", "ALLOWED_NETWORKS": PRIVATE}
    with serving(workspace / "hooks", "--no-executor", DATABASE_URL=address, **defaults) as service:
        yield service


def attempted(service: Service, job: dict[str, Any]) -> list[dict[str, Any]]:
    """The deliveries of a job, after each has had an attempt."""
    path = f"{job['links']['self']}/deliveries"
    eventually(lambda: all(delivery["attempts"] for delivery in service.read(path)["items"]))
    found: list[dict[str, Any]] = service.read(path)["items"]
    return found


async def cancelled(service: Service, **fields: Any) -> dict[str, Any]:
    """A job that was cancelled while it waited."""

    def create_and_cancel() -> dict[str, Any]:
        job = service.create(**fields)
        assert service.client.post(f"{job['links']['self']}/cancel").status_code == 200
        return job

    return await asyncio.to_thread(create_and_cancel)


async def test_a_receiver_is_notified_and_can_be_notified_again(
    service: Service, receiver: Receiver, address: str
) -> None:
    job = await cancelled(service, webhook_url=receiver.url("/200"), callback_url=receiver.url("/call?id={id}"))
    webhook, callback = await asyncio.to_thread(attempted, service, job)
    assert (webhook["status"], callback["status"]) == ("delivered", "delivered")
    assert webhook["webhook_id"] == callback["webhook_id"]
    assert receiver.at("/call")[0].target == f"/call?id={job['id']}"
    now = await asyncio.to_thread(service.read, job["links"]["self"])
    assert (now["notify_status"], now["notified_at"] is not None) == ("notified", True)

    again = await asyncio.to_thread(service.client.post, f"/v1/deliveries/{webhook['id']}/redeliver")
    assert again.status_code == 202
    await asyncio.to_thread(eventually, lambda: len(receiver.at("/200")) == 2)
    first, second = receiver.at("/200")
    assert (first.headers["webhook-id"], first.body) == (second.headers["webhook-id"], second.body)

    printed = await asyncio.to_thread(
        lambda: run_command("webhooks", "secret", folder=service.folder, DATABASE_URL=address)
    )
    event = Webhook(printed.stdout.strip()).verify(first.body, first.headers)
    assert (event["type"], event["data"]["id"]) == ("transcription.cancelled", job["id"])
    assert "transcript" not in event["data"]


async def test_a_job_that_names_no_receiver_gets_the_configured_ones(service: Service) -> None:
    job = await cancelled(service)
    [delivery] = await asyncio.to_thread(attempted, service, job)
    assert (delivery["style"], delivery["url"]) == ("callback", "http://127.0.0.1:9/default?fileName=call.wav")
    assert delivery["attempts"][0]["error"] == "connection_failed"
    assert (await asyncio.to_thread(service.read, job["links"]["self"]))["notify_status"] == "notifying"


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"webhook_url": "https://user:pass@example.com/"}, "url_not_allowed"),
        ({"webhook_url": "http://10.0.0.1/"}, "url_not_allowed"),
        ({"callback_url": "http://169.254.169.254/{id}"}, "url_not_allowed"),
        ({"webhook_url": "ftp://example.com/"}, "invalid_request"),
        ({"webhook_url": "https://"}, "invalid_request"),
        ({"webhook_url": "https://example.com:99999/"}, "invalid_request"),
        ({"webhook_url": "https://example.com/a b"}, "invalid_request"),
        ({"webhook_url": "https://example.com/" + "a" * 2048}, "invalid_request"),
        ({"callback_url": "https://example.com/{name}"}, "invalid_request"),
        ({"callback_url": "https://{id}.example.com/"}, "invalid_request"),
        ({"callback_url": "https://example.com/api/calls/{external_id}/done", "external_id": ".."}, "invalid_request"),
        ({"callback_url": "https://example.com/api/calls/{external_id}/done"}, "invalid_request"),
        ({"callback_url": "https://example.com/" + "{id}" * 9}, "invalid_request"),
        ({"callback_url": "https://example.com/?" + "{external_id}" * 8, "external_id": "☎" * 255}, "invalid_request"),
        ({"webhook_url": ["https://example.com/1", "https://example.com/2", "https://example.com/3"],
          "callback_url": ["https://example.com/4", "https://example.com/5", "https://example.com/6"]},
         "invalid_request"),
    ],
)  # fmt: skip
def test_a_url_that_may_not_be_called_is_refused_immediately(
    service: Service, fields: dict[str, Any], code: str
) -> None:
    refused(service.post(**fields), 422, code)


def test_unknown_deliveries_are_not_found(service: Service) -> None:
    refused(service.client.get(f"/v1/transcriptions/{NOBODY}/deliveries"), 404, "not_found")
    refused(service.client.post(f"/v1/deliveries/{NOBODY}/redeliver"), 404, "not_found")


def test_a_secret_from_the_settings_cannot_be_rotated_by_command(tmp_path: Path) -> None:
    secret = "whsec_" + "A" * 32
    given = run_command("webhooks", "rotate", folder=tmp_path, WEBHOOK_SECRET=secret)
    assert (given.returncode, given.stderr.count("\n")) == (2, 1)
    assert "CALLSCRIBE_WEBHOOK_SECRET" in given.stderr
    wrong = run_command("webhooks", "secret", folder=tmp_path, WEBHOOK_SECRET="whsec_short")
    assert (wrong.returncode, "whsec_short" in wrong.stderr) == (2, False)


async def test_a_delivery_of_a_style_that_only_a_newer_version_knows_is_listed(
    postgres: str, template: str, workspace: Path
) -> None:
    def list_and_redeliver(service: Service, job: dict[str, Any]) -> list[str]:
        [listed] = service.read(f"{job['links']['self']}/deliveries")["items"]
        again = service.client.post(f"/v1/deliveries/{listed['id']}/redeliver")
        assert again.status_code == 202
        return [listed["style"], again.json()["style"]]

    async with clone(postgres, template) as address:
        folder, defaults = workspace / "styles", {"CALLBACK_URLS": "http://127.0.0.1:9/", "ALLOWED_NETWORKS": PRIVATE}
        with serving(folder, "--no-executor", DATABASE_URL=address, **defaults) as service:
            job = await cancelled(service)
            database = await asyncpg.connect(address)
            await database.execute("ALTER TABLE delivery DROP CONSTRAINT delivery_style")
            await database.execute("UPDATE delivery SET style = 'stream'")
            await database.close()
            assert await asyncio.to_thread(list_and_redeliver, service, job) == ["stream", "stream"]
