"""The whole service with a Redis server: it starts without it, takes entries, answers with entries, shows no secret."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from testing.origin import answering
from testing.recordings import tone
from testing.redis_server import redis_serving
from testing.service import eventually, serving
from tests.conftest import clone

SECRET = "geheim-7"
EXAMPLE = Path(__file__).parents[1] / "examples" / "python" / "messages.py"


async def test_the_service_starts_without_redis_and_warns_until_it_is_there(
    postgres: str, template: str, tmp_path: Path
) -> None:
    with redis_serving(password=SECRET) as redis:
        redis.kill()
        async with clone(postgres, template) as address:
            settings = {
                "DATABASE_URL": address,
                "REDIS_URL": redis.url,
                "REDIS_RESULTS": "callscribe:results",
                "API_KEYS": "stream:key-of-the-stream",
            }
            with serving(tmp_path / "data", "--no-executor", key="key-of-the-stream", **settings) as service:
                eventually(lambda: any("redis" in each for each in service.read("/readyz").get("warnings", [])))
                [warning] = [each for each in service.read("/readyz")["warnings"] if "redis" in each]
                assert "cannot be reached" in warning
                redis.start()
                redis.add(url="https://calls.example/call.wav", file_name="呼叫.wav")
                eventually(lambda: bool(service.read("/v1/transcriptions")["items"]))
                [job] = service.read("/v1/transcriptions")["items"]
                assert job["audio"]["filename"] == "呼叫.wav"
                service.client.post(f"{job['links']['self']}/cancel")
                eventually(lambda: bool(redis.entries("callscribe:results")))
                [event] = redis.entries("callscribe:results")
                assert (event["type"], json.loads(event["body"])["data"]["id"]) == (
                    "transcription.cancelled",
                    job["id"],
                )
                [delivery] = service.read(f"{job['links']['self']}/deliveries")["items"]
                assert delivery["url"] == "redis-stream:callscribe:results"
                eventually(lambda: not any("redis" in each for each in service.read("/readyz").get("warnings", [])))
                service.stop()
                assert SECRET not in service.log()


@pytest.mark.slow
def test_the_example_asks_and_gets_its_answer(tmp_path: Path) -> None:
    with redis_serving() as redis, answering() as origin:
        origin.answers["/call.wav"] = lambda exchange: exchange.whole(tone())
        settings = {"REDIS_URL": redis.url, "REDIS_RESULTS": "callscribe:results"}
        with serving(tmp_path / "data", ALLOWED_NETWORKS="127.0.0.0/8", **settings):
            command = [sys.executable, str(EXAMPLE), origin.url("/call.wav"), "crm-1"]
            done = subprocess.run(
                command, env={"REDIS_URL": redis.url}, capture_output=True, text=True, timeout=120, check=False
            )
            refused = subprocess.run(
                [*command[:2], "ftp://calls.example/a.wav", "crm-2"],
                env={"REDIS_URL": redis.url},
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
    assert (done.returncode, done.stdout.partition(" ")[0]) == (0, "transcription.completed"), done.stderr
    assert (refused.returncode, refused.stderr.partition(":")[0]) == (1, "refused")
