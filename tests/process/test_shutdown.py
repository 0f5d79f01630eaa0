import asyncio
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.process import shutdown as module
from app.process.shutdown import GIVE_BACK_SECONDS, Shutdown
from app.service import SENDING_GRACE_SECONDS
from app.settings import Settings

ROOT = Path(__file__).parents[2]


class Draining:
    """Counts how often it is drained."""

    def __init__(self) -> None:
        self.drained = 0

    async def drain(self, grace_seconds: float) -> None:
        self.drained += 1

    async def idle(self) -> None:
        pass


async def test_a_second_drain_does_not_drain_the_parts_again() -> None:
    runner, sender = Draining(), Draining()
    shutdown = Shutdown([(runner, 1.0), (sender, 1.0)])
    await shutdown.drain()
    await shutdown.drain()
    assert (runner.drained, sender.drained) == (1, 1)


async def test_a_part_that_cannot_give_its_work_back_does_not_hold_up_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    class Hanging(Draining):
        async def idle(self) -> None:
            await asyncio.Event().wait()

    monkeypatch.setattr(module, "GIVE_BACK_SECONDS", 0.01)
    hanging, sender = Hanging(), Draining()
    shutdown = Shutdown([(hanging, 3600.0), (sender, 1.0)])
    await asyncio.wait_for(shutdown.drain(), 10)
    assert (hanging.drained, sender.drained, shutdown.grace_seconds) == (1, 1, 3600.0)


def test_containers_are_killed_only_after_the_longest_stop() -> None:
    """The guide says: the grace period and 20 s."""
    grace = Settings.model_fields["shutdown_grace_seconds"].default
    longest = grace + GIVE_BACK_SECONDS + SENDING_GRACE_SECONDS + GIVE_BACK_SECONDS
    assert longest < grace + 20
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    allowed = [int(compose["services"]["callscribe"]["stop_grace_period"].removesuffix("s"))]
    for name in ("api.yaml", "workers.yaml"):
        pods = [each["spec"]["template"]["spec"] for each in _deployments(ROOT / "deploy" / "kubernetes" / name)]
        allowed += [pod["terminationGracePeriodSeconds"] for pod in pods]
    assert len(allowed) == 3
    assert min(allowed) >= grace + 20


def _deployments(path: Path) -> list[dict[str, Any]]:
    return [each for each in yaml.safe_load_all(path.read_text()) if each["kind"] == "Deployment"]
