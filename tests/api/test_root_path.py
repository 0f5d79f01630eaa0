"""The service behind a proxy that publishes it under a path, with the real links, pages and webhooks."""

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urljoin

import pytest

from app.database.connections import Database
from app.jobs.events import event_of
from app.jobs.lifecycle import Status
from testing.listening import Listening, listening
from testing.recordings import tone
from testing.rows import enqueue

ROOT = "/calls/speech"


@pytest.fixture
async def published(database: Database, tmp_path: Path) -> AsyncIterator[Listening]:
    async with listening(database, tmp_path, root_path=ROOT) as service:
        yield service


@pytest.mark.parametrize("sent", [ROOT, ""], ids=["passed on", "removed"])
async def test_links_begin_with_the_root_path(published: Listening, sent: str) -> None:
    """The proxy may pass the root path on or remove it."""
    client = published.client
    posted = await client.post(f"{sent}/v1/transcriptions", files={"file": ("call.wav", tone())})
    job = posted.json()
    path = f"/v1/transcriptions/{job['id']}"
    links = {name: f"{ROOT}{path}/{name}" for name in ("transcript", "audio")} | {
        "self": f"{ROOT}{path}",
        "analysis": None,
    }
    assert (posted.status_code, posted.headers["Location"], job["links"]) == (202, links["self"], links)
    assert (await client.get(f"{sent}{path}")).json()["links"] == links
    assert (await client.get(f"{sent}/v1/transcriptions")).json()["items"][0]["links"] == links
    assert (await client.get(f"{ROOT}{path}/audio")).content == tone()
    cancelled = (await client.post(f"{sent}{path}/cancel")).json()
    assert cancelled["links"]["self"] == links["self"]


async def test_the_root_path_is_removed_once_even_if_an_upgrade_is_offered(published: Listening) -> None:
    for headers in ({}, {"Connection": "Upgrade", "Upgrade": "h2c"}):
        assert (await published.client.get(f"{ROOT}{ROOT}/v1/models", headers=headers)).status_code == 404
        assert (await published.client.get(f"{ROOT}/v1/models", headers=headers)).status_code == 200


@pytest.mark.parametrize("sent", [ROOT, ""], ids=["passed on", "removed"])
async def test_errors_have_the_form_of_openais_clients_under_the_root_path_too(published: Listening, sent: str) -> None:
    refused = await published.client.get(f"{sent}/v1/audio/nothing")
    assert (refused.status_code, refused.headers["Content-Type"]) == (404, "application/json")
    assert refused.json()["error"]["code"] == "not_found"


async def test_links_in_webhooks_begin_with_the_root_path(database: Database) -> None:
    job = await enqueue(database, webhook_urls=["https://crm.example.com/hook"])
    job.status, job.completed_at = Status.CANCELLED, job.created_at
    event = event_of(job, root_path=ROOT)
    assert event is not None
    assert json.loads(event.body)["data"]["links"]["self"] == f"{ROOT}/v1/transcriptions/{job.id}"


@pytest.mark.parametrize("page", [f"{ROOT}/", f"{ROOT}/docs"])
async def test_the_files_of_a_page_are_found_from_its_address(published: Listening, page: str) -> None:
    text = (await published.client.get(page)).text
    addresses = [address for address in re.findall(r'(?:href|src)="([^"]*)"', text) if not address.startswith("#")]
    assert len(addresses) > 3
    for address in addresses:
        place = urljoin(page, address)
        assert place.startswith(f"{ROOT}/")
        assert (await published.client.get(place)).status_code == 200


async def test_the_page_is_read_with_a_slash_at_the_end(published: Listening) -> None:
    answer = await published.client.get(ROOT)
    assert (answer.status_code, answer.headers["Location"]) == (307, f"{ROOT}/")


async def test_the_description_of_the_api_names_the_root_path(published: Listening) -> None:
    assert (await published.client.get(f"{ROOT}/openapi.json")).json()["servers"] == [{"url": ROOT}]


async def test_the_rules_of_a_path_hold_with_the_root_path_too(published: Listening) -> None:
    assert (await published.client.get(f"{ROOT}/v1/models")).headers["Cache-Control"] == "no-store"
    assert (await published.client.get(f"{ROOT}/v1/models?x=1")).status_code == 422
    assert (await published.client.get(f"{ROOT}x/v1/models")).status_code == 404
    assert (await published.client.get(f"{ROOT}{ROOT}/v1/models")).status_code == 404
