"""The manifests fit the schemas of Kubernetes and KEDA, and the service that they deploy."""

from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from cloudcoil.models.keda import v1alpha1 as keda
from sqlalchemy import text

from app.database.connections import Database
from app.network.guard import PORTS
from app.settings import PREFIX, Settings
from testing.rows import claim, enqueue, execute

FOLDER = Path(__file__).parent.parent / "deploy" / "kubernetes"
VERSIONS = ("1.30", "1.34")


def load(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((FOLDER / name).read_text()))


RESOURCES = [
    pytest.param(resource, id=f"{resource['kind']}-{resource['metadata']['name']}")
    for name in load("kustomization.yaml")[0]["resources"]
    for resource in load(name)
]
POLICIES = [resource for resource in load("network.yaml") if resource["kind"] == "NetworkPolicy"]
PODS = [load(f"{name}.yaml")[0]["spec"]["template"]["spec"] for name in ("api", "workers", "migration")]


@pytest.mark.parametrize("resource", RESOURCES)
def test_a_manifest_is_valid_under_its_schema(resource: dict[str, Any]) -> None:
    if resource["apiVersion"].startswith("keda.sh/"):
        model = getattr(keda, resource["kind"]).model_validate(resource)
        assert model.model_dump(mode="json", by_alias=True, exclude_unset=True) == resource
    else:
        for version in VERSIONS:
            kubernetes_validate.validate(resource, version, strict=True)


@pytest.mark.parametrize("pod", PODS, ids=["api", "worker", "migration"])
def test_a_pod_has_few_rights(pod: dict[str, Any]) -> None:
    [container] = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert not container["securityContext"]["allowPrivilegeEscalation"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not pod["automountServiceAccountToken"]
    assert not any("value" in variable for variable in container.get("env", []))


@pytest.mark.parametrize("pod", PODS, ids=["api", "worker", "migration"])
def test_a_pod_has_limits(pod: dict[str, Any]) -> None:
    [container] = pod["containers"]
    assert "memory" in container["resources"]["limits"]
    assert set(container["resources"]["requests"]) == {"cpu", "memory"}
    folders = [volume for volume in pod.get("volumes", []) if "emptyDir" in volume]
    assert [folder["name"] for folder in folders if "sizeLimit" not in folder["emptyDir"]] == []


def selected(selector: dict[str, Any]) -> set[str]:
    """The components that a policy of these manifests selects."""
    if "matchLabels" in selector:
        return {selector["matchLabels"]["app.kubernetes.io/component"]}
    [expression] = selector["matchExpressions"]
    assert (expression["key"], expression["operator"]) == ("app.kubernetes.io/component", "In")
    return set(expression["values"])


def test_every_pod_has_a_network_policy_in_both_directions() -> None:
    components = {
        template["metadata"]["labels"]["app.kubernetes.io/component"]
        for template in (load(f"{name}.yaml")[0]["spec"]["template"] for name in ("api", "workers", "migration"))
    }
    for direction in ("Ingress", "Egress"):
        policies = [policy["spec"] for policy in POLICIES if direction in policy["spec"]["policyTypes"]]
        assert set().union(*(selected(policy["podSelector"]) for policy in policies)) == components


def test_clients_reach_only_the_api_and_only_prometheus_reaches_the_metrics() -> None:
    reached = [policy["spec"] for policy in POLICIES if policy["spec"].get("ingress")]
    api, metrics = sorted(reached, key=lambda policy: len(selected(policy["podSelector"])))
    assert (selected(api["podSelector"]), selected(metrics["podSelector"])) == ({"api"}, {"api", "worker"})
    for policy, port in ((api, "http"), (metrics, "metrics")):
        [rule] = policy["ingress"]
        assert rule["from"]
        assert rule["ports"] == [{"protocol": "TCP", "port": port}]
    [monitoring] = metrics["ingress"][0]["from"]
    assert monitoring["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "monitoring"}


def test_pods_have_the_ports_that_the_policies_and_prometheus_name() -> None:
    [config] = [resource for resource in load("settings.yaml") if resource["kind"] == "ConfigMap"]
    metrics = {"name": "metrics", "containerPort": int(config["data"]["CALLSCRIBE_METRICS_PORT"])}
    ports = [pod["containers"][0].get("ports") for pod in PODS]
    assert ports == [[{"name": "http", "containerPort": 8000}, metrics], [metrics], None]
    monitor = yaml.safe_load((FOLDER.parent / "prometheus" / "podmonitor.yaml").read_text())["spec"]
    assert selected(monitor["selector"]) == {"api", "worker"}
    assert [each["port"] for each in monitor["podMetricsEndpoints"]] == ["metrics"]


def test_pods_reach_private_addresses_only_for_dns_and_the_database() -> None:
    """The policy allows the ports that the service's own network guard allows, and public addresses only."""
    rules = [rule for policy in POLICIES for rule in policy["spec"].get("egress", [])]
    assert {port["port"] for rule in rules if "to" not in rule for port in rule["ports"]} == {53, 5432}
    [internet] = [rule for rule in rules if "to" in rule]
    assert {port["port"] for port in internet["ports"]} == PORTS
    blocks = [block["ipBlock"] for block in internet["to"]]
    for private in ("10.1.2.3", "172.20.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "127.0.0.1", "fd00::1"):
        address = ip_address(private)
        [within] = [block for block in blocks if address in ip_network(block["cidr"])]
        assert any(address in ip_network(network) for network in within["except"]), private


def test_a_worker_has_no_more_threads_than_it_has_cores() -> None:
    """Without a limit the worker would start a thread for each core of the node."""
    resources = PODS[1]["containers"][0]["resources"]
    assert resources["limits"]["cpu"] == resources["requests"]["cpu"]


def test_the_manifests_use_only_settings_that_exist() -> None:
    [config] = [resource for resource in load("settings.yaml") if resource["kind"] == "ConfigMap"]
    assert {name.removeprefix(PREFIX).lower() for name in config["data"]} <= set(Settings.model_fields)


async def test_workers_are_scaled_by_the_seconds_of_waiting_audio(database: Database) -> None:
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
