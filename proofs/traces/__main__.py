"""`make traces`: sends one fetched call through a service, and reads its trace back from the collector."""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from standardwebhooks import Webhook

from testing.environments import environment
from testing.origin import answering
from testing.ports import free_ports
from testing.receiver import receiving
from testing.recordings import call
from testing.service import eventually, serving

PHOENIX = "arize-phoenix==20.26.1"
SECRET = "whsec_MfKQ9r8GKYqTwjUPD8ILPZIo2LaLaSwF"
CLIENT = "00f067aa0ba902b7"
EXPECTED = [
    "POST /v1/transcriptions/from-url",
    "attempt",
    "decode",
    "deliver webhook",
    "deliver webhook",
    "fetch",
    "queued",
    "transcribe",
]


@contextmanager
def phoenix(folder: Path) -> Iterator[str]:
    """Installs and runs the collector. Gives its address."""
    programs = environment(folder / "programs", [PHOENIX])
    if programs is None:
        sys.exit(f"{PHOENIX} cannot be installed here")
    port, grpc = free_ports(2)
    address = f"http://127.0.0.1:{port}"
    own = {"PHOENIX_WORKING_DIR": str(folder), "PHOENIX_HOST": "127.0.0.1", "PHOENIX_TELEMETRY_ENABLED": "false"}
    own |= {"PHOENIX_PORT": str(port), "PHOENIX_GRPC_PORT": str(grpc)}
    command = [str(programs / "python"), "-m", "phoenix.server.main", "serve"]
    with (folder / "phoenix.log").open("wb") as log:
        process = subprocess.Popen(command, env={**os.environ, **own}, stdout=log, stderr=log)
    try:
        for _ in range(5):  # it brings up its database first, which takes minutes on a busy machine
            try:
                eventually(lambda: _answers(f"{address}/healthz"))
            except AssertionError:
                continue
            break
        yield address
    finally:
        process.terminate()
        process.wait()


def _answers(address: str) -> bool:
    try:
        with urlopen(address, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


async def send_a_call(folder: Path, trace: str) -> None:
    """Sends a call with a client's parent. Its receiver refuses the webhook once, so that it is tried again."""
    async with receiving() as receiver:
        with answering() as origin:
            origin.answers["/call.wav"] = lambda exchange: exchange.whole(call(0, 18))
            with serving(folder, ALLOWED_NETWORKS="127.0.0.0/8", WEBHOOK_SECRET=SECRET) as service:
                asked = {"url": origin.url("/call.wav"), "webhook_url": receiver.url("/500"), "channels": "split"}
                headers = {"traceparent": f"00-{trace}-{CLIENT}-01"}
                posted = await asyncio.to_thread(
                    service.client.post, "/v1/transcriptions/from-url", json=asked, headers=headers
                )
                job = await asyncio.to_thread(service.ended, posted.json())
                assert job["status"] == "completed", job
                await asyncio.to_thread(eventually, lambda: len(receiver.received) == 2)
                await asyncio.to_thread(service.stop)
    first, second = receiver.received
    for attempt in (first, second):
        Webhook(SECRET).verify(attempt.body, attempt.headers)
    assert first.body == second.body
    assert first.headers["traceparent"] != second.headers["traceparent"]


def spans_of(address: str, trace: str) -> list[dict[str, Any]]:
    """Returns the trace as the collector has stored it."""
    with urlopen(f"{address}/v1/projects/default/spans?limit=1000", timeout=30) as answer:
        spans: list[dict[str, Any]] = json.load(answer)["data"]
    found = [span for span in spans if span["context"]["trace_id"] == trace]
    return sorted(found, key=lambda span: str(span["start_time"]))


def main() -> None:
    trace = os.urandom(16).hex()
    with tempfile.TemporaryDirectory(prefix="traces-") as name, phoenix(Path(name)) as address:
        os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = address
        asyncio.run(send_a_call(Path(name) / "service", trace))
        eventually(lambda: len(spans_of(address, trace)) >= len(EXPECTED))
        spans = spans_of(address, trace)
    for span in spans:
        print(span["start_time"][11:23], span["end_time"][11:23], span["context"]["span_id"], span["name"])
    ids = {span["name"]: span["context"]["span_id"] for span in spans}
    parents = {span["name"]: span["parent_id"] for span in spans}
    request, attempt = ids["POST /v1/transcriptions/from-url"], ids["attempt"]
    assert sorted(span["name"] for span in spans) == EXPECTED
    assert parents["POST /v1/transcriptions/from-url"] == CLIENT
    assert {parents[name] for name in ("queued", "attempt", "deliver webhook")} == {request}
    assert {parents[name] for name in ("fetch", "decode", "transcribe")} == {attempt}
    print(f"One trace of {len(spans)} spans, read back from {PHOENIX}.")


if __name__ == "__main__":
    main()
