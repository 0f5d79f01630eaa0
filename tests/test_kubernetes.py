"""The manifests, against the schemas of Kubernetes and KEDA, and against what the service is."""

from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from cloudcoil.models.keda import v1alpha1 as keda
from sqlalchemy import text

from app.db import Database
from app.settings import PREFIX, Settings
from tests.jobs.rows import claim, enqueue, execute

FOLDER = Path(__file__).parent.parent / "deploy" / "kubernetes"
VERSIONS = ("1.30", "1.34")


def load(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((FOLDER / name).read_text()))


RESOURCES = [
    pytest.param(resource, id=f"{resource['kind']}-{resource['metadata']['name']}")
    for name in load("kustomization.yaml")[0]["resources"]
    for resource in load(name)
]
PODS = [load(f"{name}.yaml")[0]["spec"]["template"]["spec"] for name in ("api", "workers", "migration")]


@pytest.mark.parametrize("resource", RESOURCES)
def test_a_manifest_is_as_its_schema_says(resource: dict[str, Any]) -> None:
    if resource["apiVersion"].startswith("keda.sh/"):
        model = getattr(keda, resource["kind"]).model_validate(resource)
        assert model.model_dump(mode="json", by_alias=True, exclude_unset=True) == resource
    else:
        for version in VERSIONS:
            kubernetes_validate.validate(resource, version, strict=True)


@pytest.mark.parametrize("pod", PODS, ids=["api", "worker", "migration"])
def test_a_pod_may_do_little(pod: dict[str, Any]) -> None:
    [container] = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert "memory" in container["resources"]["limits"]
    assert not any("value" in variable for variable in container.get("env", []))


def test_a_worker_has_no_more_threads_than_it_has_cores() -> None:
    """Without a limit it would take those of the node."""
    resources = PODS[1]["containers"][0]["resources"]
    assert resources["limits"]["cpu"] == resources["requests"]["cpu"]


def test_the_settings_exist() -> None:
    [config] = [resource for resource in load("settings.yaml") if resource["kind"] == "ConfigMap"]
    assert {name.removeprefix(PREFIX).lower() for name in config["data"]} <= set(Settings.model_fields)


async def test_workers_are_scaled_by_the_seconds_of_audio_that_wait(database: Database) -> None:
    query = load("scaling.yaml")[1]["spec"]["triggers"][0]["metadata"]["query"]

    async def backlog() -> float:
        async with database.engine.connect() as connection:
            return float((await connection.execute(text(query))).scalar_one())

    assert await backlog() == 0
    await enqueue(database, duration=600.0)
    await enqueue(database)
    assert await backlog() == 780
    await claim(database)
    await execute(database, "UPDATE transcription SET progress = 0.5 WHERE status = 'in_progress'")
    assert await backlog() == 480
