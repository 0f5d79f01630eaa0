"""Health, readiness, models, and the documentation page."""

import re

import httpx
import pytest

from app.main import create_app
from app.operations import Readinesses
from tests.service import Service


def test_a_living_process_is_healthy(guarded: Service) -> None:
    assert guarded.read("/healthz") == {"status": "ok"}


def test_a_service_with_all_its_parts_is_ready(service: Service) -> None:
    assert service.read("/readyz") == {"status": "ready", "reasons": [], "warnings": []}


async def test_a_service_without_a_part_is_not_ready_and_says_why() -> None:
    async def fine() -> None:
        pass

    async def broken() -> None:
        raise PermissionError("/secret/folder cannot be written")

    app = create_app()
    app.state.readinesses = Readinesses({"database": fine, "storage": broken})
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://callscribe") as client:
        response = await client.get("/readyz")
    assert response.status_code == 503
    assert response.json() == {"status": "not_ready", "reasons": ["storage: PermissionError"], "warnings": []}


def test_models_are_listed_with_their_languages(guarded: Service) -> None:
    (model,) = guarded.read("/v1/models")["items"]
    assert (model["name"], model["default"]) == ("base", True)
    assert {"en", "de", "zh"} <= set(model["languages"])


@pytest.mark.parametrize("path", ["/docs", "/docs/oauth2-redirect"])
def test_the_documentation_needs_no_internet(guarded: Service, path: str) -> None:
    page = guarded.client.get(path).text
    addresses = re.findall(r"""(?:src|href)\s*=\s*["']([^"']+)["']|url\(([^)]+)\)""", page)
    assets = [first or second for first, second in addresses]
    assert "http" not in page.replace("http-equiv", "")
    for asset in assets:
        response = guarded.client.get(asset)
        assert response.status_code == 200, asset
        assert response.content, asset
    assert path != "/docs" or len(assets) >= 3
