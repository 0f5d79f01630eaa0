"""`/metrics` on the main port: who may read it, and how requests are counted."""

from pathlib import Path

import httpx
import pytest

from app.database.connections import Database
from app.metrics import OPENMETRICS
from testing.forms import refused
from testing.listening import listening
from testing.service import Service

ADMIN = "admin-secret-1"


def requests_counted(text: str) -> dict[str, float]:
    lines = [line for line in text.splitlines() if line.startswith("callscribe_http_requests_total{")]
    return {labels: float(value) for labels, _, value in (line.rpartition(" ") for line in lines)}


async def test_only_an_admin_key_reads_the_numbers(database: Database, tmp_path: Path) -> None:
    async with listening(database, tmp_path, api_keys=f"admin:{ADMIN},alice:alice-secret") as service:
        answers = {
            key: await service.client.get("/metrics", headers={"Authorization": f"Bearer {key}"})
            for key in ("wrong", "alice-secret", ADMIN)
        }
        anonymous = await service.client.get("/metrics")
    refused(anonymous, 401, "unauthorized")
    refused(answers["wrong"], 401, "unauthorized")
    assert "admin" in refused(answers["alice-secret"], 403, "forbidden")["detail"]
    assert answers[ADMIN].status_code == 200
    assert "callscribe_queue_oldest_seconds 0.0\n" in answers[ADMIN].text


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "X-Real-IP"])
async def test_a_stranger_behind_a_proxy_is_not_taken_for_this_machine(
    database: Database, tmp_path: Path, header: str
) -> None:
    """The proxy runs on this machine, so each of its requests comes from loopback."""
    async with listening(database, tmp_path, api_keys=f"admin:{ADMIN}") as service:
        for sent in ({}, {header: "127.0.0.1"}, {header: "127.0.0.1", "Host": "localhost"}):
            refused(await service.client.get("/metrics", headers=sent), 401, "unauthorized")


def test_a_service_without_keys_shows_its_numbers_to_this_machine(service: Service) -> None:
    answer = service.client.get("/metrics", headers={"Accept": f"{OPENMETRICS};version=1.0.0"})
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith(OPENMETRICS)
    assert answer.headers["Cache-Control"] == "no-store"
    rebound = service.client.get("/metrics", headers={"Host": "evil.example"})
    refused(rebound, 403, "forbidden")


async def test_without_authentication_nobody_is_an_admin(database: Database, tmp_path: Path) -> None:
    async with listening(database, tmp_path, auth="off") as service:
        refused(await service.client.get("/metrics"), 403, "forbidden")


async def test_requests_are_counted_by_the_template_of_their_route(database: Database, tmp_path: Path) -> None:
    async with listening(database, tmp_path) as service:
        before = requests_counted((await service.client.get("/metrics")).text)
        for number in range(20):
            path = f"/v1/transcriptions/01989d2e-7c1b-7f9e-8a54-2f0f6f1f9c{number:02x}"
            await service.client.get(path)
            await service.client.head(path)
            await service.client.get(f"/{number}/wp-login.php")
            await service.client.request("PROPFIND", f"/v1/{number}")
        after = requests_counted((await service.client.get("/metrics")).text)
    new = {labels: after[labels] - before.get(labels, 0) for labels in after}
    read = "/v1/transcriptions/{transcription_id}"
    assert {labels: count for labels, count in new.items() if count >= 20} == {
        f'callscribe_http_requests_total{{method="GET",route="{read}",status="404"}}': 20,
        f'callscribe_http_requests_total{{method="HEAD",route="{read}",status="404"}}': 20,
        'callscribe_http_requests_total{method="GET",route="unmatched",status="404"}': 20,
        'callscribe_http_requests_total{method="other",route="unmatched",status="404"}': 20,
    }
    assert not [labels for labels in after if "wp-login" in labels or "01989d2e" in labels]


def test_a_browser_of_another_site_reads_no_numbers(service: Service) -> None:
    refused(httpx.get(f"{service.url}/metrics", headers={"Origin": "https://evil.example"}), 403, "forbidden")
