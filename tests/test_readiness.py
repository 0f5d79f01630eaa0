"""All requests share one check of the service's parts."""

import asyncio

import httpx
import pytest

from app import readiness
from app.access.registry import ApiKeys
from app.readiness import Doubtful, NotReady, Readiness
from testing.listening import app_with
from tests.conftest import ALICE


class Part:
    """Counts its checks. A check ends when `open` is set."""

    def __init__(self) -> None:
        self.checks = 0
        self.open = asyncio.Event()

    async def check(self) -> None:
        self.checks += 1
        await self.open.wait()


async def test_thousands_of_requests_share_one_check() -> None:
    part = Part()
    checked = Readiness({"part": part.check})
    asking = [asyncio.create_task(checked.findings()) for _ in range(2000)]
    await asyncio.sleep(0)
    part.open.set()
    assert all(not findings.reasons for findings in await asyncio.gather(*asking))
    assert not (await checked.findings()).reasons
    assert part.checks == 1


async def test_a_part_that_hangs_is_not_ready_and_no_second_check_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "CHECK_SECONDS", 0.05)
    monkeypatch.setattr(readiness, "KEPT_SECONDS", 0.0)
    part = Part()
    checked = Readiness({"part": part.check})
    for _ in range(3):
        [finding] = (await checked.findings()).reasons
        assert finding.shown(details=False) == "part: does not answer"
    assert part.checks == 1
    part.open.set()
    await asyncio.sleep(0)
    assert not (await checked.findings()).reasons


@pytest.mark.parametrize("ready", [True, False])
@pytest.mark.parametrize("key", [ALICE, "guess", None])
async def test_only_a_client_with_a_key_reads_names_and_paths(ready: bool, key: str | None) -> None:
    async def broken() -> None:
        raise NotReady("cannot be used", "s3://secret-bucket is not there")

    async def doubtful() -> None:
        raise Doubtful("several machines", "several machines: one, two")

    checked = Readiness({} if ready else {"storage": broken}, {"storage": doubtful})
    app = app_with(checked, ApiKeys({"alice": [ALICE]}))
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://callscribe") as client:
        response = await client.get("/readyz", headers=headers)
    details = key == ALICE
    reason = "storage: s3://secret-bucket is not there" if details else "storage: cannot be used"
    warning = "storage: several machines: one, two" if details else "storage: several machines"
    assert response.status_code == (200 if ready else 503)
    assert response.json()["reasons"] == ([] if ready else [reason])
    assert response.json()["warnings"] == ([warning] if ready else [])
