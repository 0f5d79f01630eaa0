"""The metrics of a running service, read by a real Prometheus, with the alerts and the dashboard that we deliver."""

import asyncio
import json
import os
import re
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from app.metrics import OPENMETRICS, UNMATCHED
from testing.origin import answering
from testing.ports import free_ports
from testing.receiver import receiving
from testing.recordings import call
from testing.service import Service, eventually, serving, start_callscribe
from tests.conftest import clone

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parent.parent
ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yml"
DASHBOARD = json.loads((ROOT / "deploy" / "grafana" / "callscribe.json").read_text())
GUIDE = (ROOT / "docs" / "operate.md").read_text()
REQUIRED = bool(os.environ.get("NEED_PROMETHEUS"))  # set by .ci/run, so that CI cannot skip these tests
RULES = [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]
QUERIES = [
    target["expr"].replace("$__rate_interval", "1m")
    for panel in DASHBOARD["panels"]
    for target in panel.get("targets", ())
]
NAME = re.compile(r"callscribe_\w+")
MODEL_LOADED = 'callscribe_model_loaded{device="cpu",model="tiny.en"}'


def program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        assert not REQUIRED, f"{name} is not installed"
        pytest.skip(f"{name} is not installed")
    return found


async def _use(service: Service) -> None:
    """One job is completed and its webhook is sent, one job fails, and somebody asks for what does not exist."""
    with answering() as origin:
        async with receiving() as receiver:
            origin.answers["/broken.wav"] = lambda exchange: exchange.whole(b"RIFF" + bytes(10_000))
            body = {"url": origin.url("/broken.wav")}
            posted = await asyncio.to_thread(service.client.post, "/v1/transcriptions", json=body)
            failed = await asyncio.to_thread(service.ended, posted.json())
            created = partial(service.create, call(0.0, 6.0), language="en", webhook_url=receiver.url("/200"))
            completed = await asyncio.to_thread(service.ended, await asyncio.to_thread(created))
            assert (failed["status"], completed["status"]) == ("failed", "completed"), (failed, completed)
            notified = f"{completed['links']['self']}/deliveries"
            await asyncio.to_thread(eventually, lambda: service.read(notified)["items"][0]["status"] == "delivered")
    await asyncio.to_thread(service.client.get, "/v1/unknown/id-of-a-customer")


@pytest.fixture(scope="module")
async def metrics_port(workspace: Path) -> AsyncIterator[int]:
    """The port of a service that has done a little of everything."""
    [port] = free_ports(1)
    settings = {"METRICS_PORT": str(port), "ALLOWED_NETWORKS": "127.0.0.0/8"}
    with answering() as far:
        far.answers["/v1/audio/transcriptions"] = lambda exchange: exchange.whole(b'{"text": "Thank you."}')
        models = f"tiny.en,far={far.url('/v1')}#base"
        with serving(workspace / "monitored", MODEL=models, **settings) as service:
            await _use(service)
            await asyncio.to_thread(eventually, lambda: any("remote_request" in name for name in samples(port)))
            yield port


@pytest.fixture
async def postgres_address(postgres: str, template: str) -> AsyncIterator[str]:
    async with clone(postgres, template) as address:
        yield address


def exposed(port: int, accept: str = "") -> str:
    answer = httpx.get(f"http://127.0.0.1:{port}/metrics", headers={"Accept": accept}, trust_env=False)
    assert answer.status_code == 200
    return answer.text


def samples(port: int) -> dict[str, float]:
    lines = (line for line in exposed(port).splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def test_a_job_a_failure_and_a_webhook_are_counted(metrics_port: int) -> None:
    found = samples(metrics_port)
    counted = {name.removeprefix("callscribe_"): value for name, value in found.items()}
    assert counted['jobs_ended_total{code="",status="completed"}'] == 1
    assert sum(value for name, value in counted.items() if 'status="failed"' in name and "jobs_ended" in name) == 1
    assert counted['deliveries_total{channel="webhook",result="delivered"}'] == 1
    for stage in ("queued", "decode", "transcribe", "total"):
        assert counted[f'job_seconds_count{{stage="{stage}"}}'] == 1
    assert counted['job_seconds_count{stage="fetch"}'] == 1
    assert counted['audio_seconds_total{model="tiny.en"}'] == pytest.approx(6, abs=0.1)
    assert counted['batch_windows_count{model="tiny.en"}'] >= 1
    assert counted['windows_total{model="tiny.en",result="accepted"}'] >= 1
    assert counted['model_loaded{device="cpu",model="tiny.en"}'] == 1
    assert counted[f'http_requests_total{{method="GET",route="{UNMATCHED}",status="404"}}'] == 1
    assert counted["disk_free_bytes"] > 0


def test_no_label_holds_an_id_or_a_name_of_a_client(metrics_port: int) -> None:
    text = exposed(metrics_port)
    assert not re.search(r"[0-9a-f]{8}-[0-9a-f]{4}|customer|anonymous|127\.0\.0\.1|Thank", text)


@pytest.mark.parametrize("where", ["alerts", "dashboard", "guide"])
def test_every_name_that_we_deliver_exists_on_a_running_service(metrics_port: int, where: str) -> None:
    texts = {"alerts": ALERTS.read_text(), "dashboard": " ".join(QUERIES), "guide": GUIDE}
    known = {name.partition("{")[0] for name in samples(metrics_port)}
    named = set(NAME.findall(texts[where]))
    assert named
    assert named - known == set()


def test_the_guide_explains_every_number_and_every_alert(metrics_port: int) -> None:
    families = re.findall(r"^# TYPE callscribe_(\w+) ", exposed(metrics_port), re.MULTILINE)
    assert {*families} == set(re.findall(r"^\| `(\w+?)(?:\{[\w,]+\})?` \| (?:database|process)", GUIDE, re.MULTILINE))
    for rule in RULES:
        assert f"\n### {rule['alert']}\n" in GUIDE
        assert rule["annotations"]["runbook"] == f"docs/operate.md#{rule['alert'].lower()}"


def promtool(*arguments: str | Path, given: str | None = None) -> None:
    command = [program("promtool"), *map(str, arguments)]
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr


def test_promtool_has_nothing_to_say_about_the_metrics(metrics_port: int) -> None:
    promtool("check", "metrics", given=exposed(metrics_port))


def test_promtool_accepts_the_alerts_and_their_cases(tmp_path: Path) -> None:
    promtool("check", "rules", ALERTS)
    promtool("test", "rules", ROOT / "tests" / "alerts_test.yml")
    promtool("check", "config", ALERTS.with_name("prometheus.yml"))


def _answer(prometheus: httpx.Client, path: str, **parameters: str) -> Any:
    answer = prometheus.get(f"/api/v1/{path}", params=parameters)
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


@pytest.fixture
def prometheus(metrics_port: int, tmp_path: Path) -> Iterator[httpx.Client]:
    """A Prometheus with our configuration, which scrapes the service every second."""
    written = (ALERTS.with_name("prometheus.yml")).read_text().replace("callscribe:9464", f"127.0.0.1:{metrics_port}")
    (tmp_path / "prometheus.yml").write_text(written.replace("15s", "1s"))
    shutil.copy(ALERTS, tmp_path)
    [port] = free_ports(1)
    address = f"127.0.0.1:{port}"
    command = [program("prometheus"), f"--config.file={tmp_path}/prometheus.yml", f"--web.listen-address={address}"]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen([*command, f"--storage.tsdb.path={tmp_path}/data"], stderr=log, stdout=log)
    try:
        with httpx.Client(base_url=f"http://{address}", trust_env=False) as client:
            eventually(lambda: process.poll() is not None or _is_up(client))
            assert process.poll() is None, (tmp_path / "log").read_text()
            yield client
    finally:
        process.terminate()
        process.wait()


def _is_up(prometheus: httpx.Client) -> bool:
    try:
        return any(target["health"] == "up" for target in _answer(prometheus, "targets")["activeTargets"])
    except (httpx.TransportError, AssertionError):
        return False


def test_prometheus_draws_every_panel_and_fires_no_alert(prometheus: httpx.Client, metrics_port: int) -> None:
    eventually(lambda: len(_answer(prometheus, "query", query="callscribe_build_info[1m]")["result"][0]["values"]) > 3)
    for query in QUERIES:
        assert _answer(prometheus, "query", query=query)["result"], query
    rules = [rule for group in _answer(prometheus, "rules")["groups"] for rule in group["rules"]]
    assert {rule["name"]: (rule["health"], rule["state"]) for rule in rules} == {
        rule["alert"]: ("ok", "inactive") for rule in RULES
    }
    assert exposed(metrics_port, f"{OPENMETRICS};version=1.0.0").endswith("# EOF\n")


def test_a_worker_has_numbers_of_its_own(postgres_address: str, workspace: Path) -> None:
    """Two workers of one machine run jobs of one database. What each has done adds up, and the queue is the same."""
    ports = free_ports(2)
    settings = {"DATABASE_URL": postgres_address, "STORE_URL": str(workspace / "shared"), "MODEL": "tiny.en"}
    with serving(workspace / "api", "--no-executor", **settings) as service:
        jobs = [service.create() for _ in range(4)]
        workers = [
            start_callscribe(
                "worker",
                folder=workspace / f"worker-{port}",
                stderr=subprocess.DEVNULL,
                METRICS_PORT=str(port),
                **settings,
            )
            for port in ports
        ]
        try:
            assert {service.ended(job)["status"] for job in jobs} == {"completed"}
            eventually(lambda: all(samples(port).get(MODEL_LOADED) == 1 for port in ports))
            eventually(lambda: all(samples(port)['callscribe_jobs{status="completed"}'] == 4 for port in ports))
            ended = 'callscribe_jobs_ended_total{code="",status="completed"}'
            assert sum(samples(port)[ended] for port in ports) == 4
        finally:
            for worker in workers:
                worker.terminate()
            for worker in workers:
                worker.communicate(timeout=30)
    assert [worker.returncode for worker in workers] == [0, 0]


def test_the_panels_of_the_dashboard_do_not_overlap() -> None:
    taken = [
        (x, y)
        for panel in DASHBOARD["panels"]
        for box in [panel["gridPos"]]
        for x in range(box["x"], box["x"] + box["w"])
        for y in range(box["y"], box["y"] + box["h"])
    ]
    assert len(taken) == len(set(taken))
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
