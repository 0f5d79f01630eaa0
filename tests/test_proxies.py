"""The examples of docs/deploy.md for proxies, run by the real nginx and the real Caddy in front of the real service."""

import asyncio
import json
import ssl
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import httpx
import pytest
from websockets.sync.client import connect

from testing.forms import refused
from testing.proxies import AUTHORITY, GUIDE, program, proxying
from testing.receiver import Receiver
from testing.recordings import tone
from testing.service import Service, eventually, serving
from tests.conftest import ALICE, clone

pytestmark = pytest.mark.slow
PROXIES = ["nginx", "caddy"]
SETTINGS = {"ROOT_PATH": "/speech", "TRUSTED_PROXIES": "127.0.0.1"}  # as the documentation names them


@pytest.fixture(scope="module")
async def behind(postgres: str, template: str, workspace: Path) -> AsyncIterator[Service]:
    """A service with the settings that the documentation names for a proxy, without a worker."""
    async with clone(postgres, template) as database:
        settings = {"DATABASE_URL": database, "API_KEYS": f"alice:{ALICE}", "ALLOWED_NETWORKS": "127.0.0.0/8"}
        settings |= {"MAX_UPLOAD_BYTES": "20MB", **SETTINGS}
        with serving(workspace / "behind", "--no-executor", key=ALICE, **settings) as service:
            yield service


@pytest.fixture(params=PROXIES)
def proxy(request: pytest.FixtureRequest, behind: Service, tmp_path: Path) -> Iterator[httpx.Client]:
    program(request.param)
    with proxying(request.param, behind.port, tmp_path / "proxy") as client:
        client.headers["Authorization"] = f"Bearer {ALICE}"
        yield client


def test_the_guide_names_the_settings_that_are_tested(behind: Service) -> None:
    lines = "".join(f"CALLSCRIBE_{name}={value}\n" for name, value in SETTINGS.items())
    assert f"```sh\n{lines}```\n" in GUIDE.read_text()


def test_a_client_of_a_proxy_uploads_waits_and_reads(proxy: httpx.Client) -> None:
    recording = tone(600.0)  # larger than the 1 MB that nginx allows unless it is configured
    assert len(recording) > 4_000_000
    files = {"file": ("call.wav", recording)}
    posted = proxy.post("/speech/v1/transcriptions", files=files)
    assert posted.status_code == 202, posted.text
    job = posted.json()
    assert posted.headers["Location"] == job["links"]["self"] == f"/speech/v1/transcriptions/{job['id']}"
    assert proxy.get(job["links"]["audio"]).content == recording
    head = proxy.head(job["links"]["audio"])
    assert (head.status_code, head.headers["Content-Length"]) == (200, str(len(recording)))
    waited = proxy.get(job["links"]["self"], params={"wait": 0.2})
    assert (waited.status_code, waited.headers["Retry-After"]) == (200, "2")
    assert proxy.post(f"{job['links']['self']}/cancel").status_code == 200


async def test_webhooks_have_links_with_the_path(behind: Service, receiver: Receiver) -> None:
    job = await asyncio.to_thread(behind.create, webhook_url=receiver.url("/200"))
    await asyncio.to_thread(behind.client.post, f"{job['links']['self']}/cancel")
    await asyncio.to_thread(eventually, lambda: bool(receiver.received))
    assert json.loads(receiver.received[0].body)["data"]["links"]["self"] == job["links"]["self"]


def test_pages_are_found_under_the_path(proxy: httpx.Client) -> None:
    moved = proxy.get("/speech")
    assert moved.status_code in (301, 302)
    assert moved.headers["Location"].endswith("/speech/")
    for path in ("/speech/", "/speech/docs", "/speech/page/page.js", "/speech/docs/static/swagger-ui.css"):
        assert proxy.get(path).status_code == 200
    assert proxy.get("/speech/openapi.json").json()["servers"] == [{"url": "/speech"}]


def test_a_stranger_behind_a_proxy_reads_no_numbers(proxy: httpx.Client) -> None:
    """To the service, the stranger comes from loopback."""
    for path in ("/speech/metrics", "/speech/metrics?", "/speech//metrics"):
        for headers in ({}, {"X-Forwarded-For": "127.0.0.1", "X-Real-IP": "127.0.0.1", "Forwarded": "for=127.0.0.1"}):
            answer = proxy.get(path, headers={**headers, "Authorization": ""})
            assert answer.status_code in (401, 404), answer.text
            assert "callscribe_" not in answer.text


def test_refusals_of_the_service_pass_the_proxy(proxy: httpx.Client, behind: Service) -> None:
    path = "/speech/v1/transcriptions"
    large = {"file": ("call.wav", b"x" * 22_000_000)}
    refused(proxy.post(path, files=large), 413, "too_large")
    refused(proxy.post(path, files=large, headers={"Authorization": ""}), 401, "unauthorized")
    refused(proxy.get(f"{path}?extrenal_id=1"), 422, "invalid_request")


def test_the_request_id_of_the_proxy_is_the_id_of_the_service(proxy: httpx.Client, behind: Service) -> None:
    request_id = proxy.get("/speech/v1/models").headers["X-Request-ID"]
    eventually(lambda: f'"request_id": "{request_id}"' in behind.log())
    [line] = [json.loads(line) for line in behind.log().splitlines() if request_id in line]
    assert (line["path"], line["caller"], line["status"]) == ("/v1/models", "alice", 200)


def test_the_service_knows_the_client_of_the_proxy_and_believes_no_client(proxy: httpx.Client, behind: Service) -> None:
    invented = {"X-Forwarded-For": "192.0.2.55", "X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "gopher"}
    answer = proxy.get("/speech/v1/models", headers=invented)
    request_id = answer.headers["X-Request-ID"]
    eventually(lambda: f'"request_id": "{request_id}"' in behind.log())
    [line] = [json.loads(line) for line in behind.log().splitlines() if request_id in line]
    assert (line["client"], answer.status_code) == ("127.0.0.1", 200)


def _logged(service: Service, request_id: str) -> bool:
    return f'"request_id": "{request_id}"' in service.log()


def test_live_calls_pass_the_proxy(proxy: httpx.Client, behind: Service, tmp_path: Path) -> None:
    token = proxy.post("/speech/v1/live/tokens").json()["token"]
    trust = ssl.create_default_context(cafile=tmp_path / "proxy" / AUTHORITY)
    address = str(proxy.base_url).replace("https", "wss")
    for path in ("live", "realtime"):
        with connect(f"{address}/speech/v1/{path}?token={token}", ssl=trust, proxy=None) as websocket:
            assert websocket.response is not None
            request_id = websocket.response.headers["X-Request-ID"]
            websocket.send('{"type": "start"}')
            assert json.loads(websocket.recv(timeout=20))["type"]
        eventually(partial(_logged, behind, request_id))
    assert token not in behind.log()


def test_the_longest_wait_ends_before_a_proxy_gives_up(behind: Service, tmp_path: Path) -> None:
    """Both proxies wait at the same time."""
    for name in PROXIES:
        program(name)
    path = behind.create()["links"]["self"]

    def wait(name: str) -> tuple[int, str, float]:
        with proxying(name, behind.port, tmp_path / name) as client:
            started = time.monotonic()
            answer = client.get(path, params={"wait": 60}, headers={"Authorization": f"Bearer {ALICE}"})
            return answer.status_code, answer.json()["status"], time.monotonic() - started

    with ThreadPoolExecutor() as pool:
        for status, job, seconds in pool.map(wait, PROXIES):
            assert (status, job) == (200, "pending")
            assert 50 < seconds < 56
